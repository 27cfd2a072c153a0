# Three copies on three servers are compared by digests that are made where they lie: 0.05 % of them goes over the wire, and a little for headers.
mounts v42 vers=4.2
m=/mnt/v42
images d.img 64 full
damage 2 d.img $((33 * 1024 * 1024)) 512
for n in 1 2 3; do quorum-img digest -q -o /srv/s$n/d.qdg /srv/s$n/d.img; done
cold
data=$((3 * 64 * 1024 * 1024))
fetched() { echo $(($(read_of $m/1) + $(read_of $m/2) + $(read_of $m/3))); }
before=$(fetched)
expect 1 quorum-img check $m/{1,2,3}/d.qdg
says "#0 #2 against #1"
says 0x2100000
bytes=$(($(fetched) - before))
claim "fetched $bytes bytes, at most 0.07 % of $data" [ $bytes -le $((data * 7 / 10000)) ]
claim "and something was" [ $bytes -ge 50000 ]
# One copy by way of the network, held against the other two where they lie.
before=$(fetched)
expect 0 quorum-img check $m/1/d.img $m/{1,3}/d.qdg
bytes=$(($(fetched) - before))
claim "fetched $bytes bytes, about one copy" [ $bytes -le $((data / 3 * 11 / 10)) ]
