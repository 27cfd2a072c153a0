# One file by two ways is one vote, and not two: a damaged copy must not win over a good one by being given twice.
mounts v3 vers=3
mkdir /srv/s{1,2,3}/dir
on_server 1 ip addr add 10.77.1.3/24 dev e1
on_server 1 exportfs -o rw,sync,no_subtree_check,no_root_squash,insecure,fsid=201 '*:/srv/s1/dir'
mount_one 1 /mnt/again vers=3,nosharecache
mount_one 1 /mnt/version vers=4.2
mount_one 1 /mnt/address vers=3 10.77.1.3:/srv/s1
mount_one 1 /mnt/export vers=3 10.77.1.2:/srv/s1/dir
# What is surely one file is told so; what is likely one is a guard, `shared`.
reason() { claim 'says "shared" or "same storage"' eval 'said shared || said "same storage"'; }
a=/mnt/v3/1/dir/a.img b=/mnt/v3/2/dir/a.img
for other in /mnt/again/dir/a.img /mnt/version/dir/a.img /mnt/address/dir/a.img /mnt/export/a.img /srv/s1/dir/a.img; do
    images dir/a.img 4 full; damage 1 dir/a.img 4096 512; keep dir/a.img
    expect '0|1|2|3' quorum-img check $a $other $b
    reason
    expect '2|3' quorum-img repair -f raw -o /mnt/v3/2/out.img $a $other $b
    reason
    expect 1 test -e /srv/s2/out.img
    # --force newer: no other guard may stand in for this one.
    expect '2|3' quorum-img repair -f raw -y --in-place --force newer $a $other $b
    reason
    kept dir/a.img
    rm -f $a.quorum-journal /srv/s2/out.img
done
