# A set of copies on three servers: marks travel by NFS 4.2, a server that is away for a night is kept out until its copy has proven itself,
# and an older state that was put back on a server isn't taken for the member.
mounts v42 vers=4.2
m=/mnt/v42
images s.img 16 full
mkdir -m 700 /tmp/sets
s=/tmp/sets/vm.qset
expect 0 quorum-img set create $s $m/{1,2,3}/s.img
for n in 1 2 3; do
    expect 0 quorum-img info /srv/s$n/s.img
    says "mark:"
done
expect 0 quorum-img set status $s
mute "carries no mark"

damage 2 s.img $((5 * 1024 * 1024)) 512
cold
expect 1 quorum-img set check $s
says "ok -> suspect"
expect 0 quorum-img set repair -y $s
claim "it was healed" cmp /srv/s2/s.img /tmp/whole

expect 0 quorum-img set policy $s timeout=10
server_cut 3
expect '1|2|3' quorum-img set check $s
expect 1 quorum-img set status $s
says returning
server_join 3
cold
expect 0 quorum-img set check --restart $s
expect 0 quorum-img set status $s

# By version 3 there are no attributes, and status says what that is worth.
mounts v3 vers=3
m=/mnt/v3
images t.img 16 full
t=/tmp/sets/three.qset
expect 0 quorum-img set create $t $m/{1,2,3}/t.img
expect 0 quorum-img set status $t
says "carries no mark"
damage 1 t.img $((3 * 1024 * 1024)) 512
cold
expect 1 quorum-img set check $t
says "times don't tell"
expect 0 quorum-img set repair -y $t
claim "it was healed" cmp /srv/s1/t.img /tmp/whole
