# Three replicas on three servers: checked, repaired to a new image and in place, undone; a server is restarted meanwhile.
for version in 3 4.2; do
    m=/mnt/v$version
    mounts v$version vers=$version
    images a.img 16 holes
    expect 0 quorum-img check $m/{1,2,3}/a.img
    damage 1 a.img 4096 512; damage 2 a.img 8388608 8192
    keep a.img
    expect 1 quorum-img check $m/{1,2,3}/a.img
    expect 0 quorum-img repair -f raw -o $m/3/fixed.img $m/{1,2,3}/a.img
    expect 0 cmp /srv/s3/fixed.img /tmp/whole
    expect 0 quorum-img repair -f raw -y --in-place $m/{1,2,3}/a.img
    whole a.img
    expect 0 quorum-img undo -y $m/1/a.img.quorum-journal
    kept a.img
    rm -f $m/1/a.img.quorum-journal $m/3/fixed.img

    images b.img 16 full; damage 2 b.img 4096 512; cold
    meanwhile $m/3 3000000 server_restart 3
    expect 1 quorum-img check -T none -r 6M $m/{1,2,3}/b.img
    happened
done
