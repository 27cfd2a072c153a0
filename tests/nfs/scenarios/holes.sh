# NFSv4.2 tells where holes are, and they are not to be fetched: neither by reading nor by reading ahead.
mounts v42 vers=4.2
m=/mnt/v42
images h.img 256 holes
data=$((3 * 32 * 1024 * 1024))
fetched() { echo $(($(read_of $m/1) + $(read_of $m/2) + $(read_of $m/3))); }
before=$(fetched)
expect 0 quorum-img check $m/{1,2,3}/h.img
bytes=$(($(fetched) - before))
claim "fetched $bytes bytes, and all $data of data" [ $bytes -ge $data ]
claim "at most 1.3 times that: $((bytes * 100 / data)) %" [ $bytes -le $((data * 13 / 10)) ]
