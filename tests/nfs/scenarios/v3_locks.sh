# QEMU's locks on another machine are seen over NFSv3, too. On a mount without locks nobody's are: checks say so, and a repair in place
# asks for the word.
[ -x /lab/bin/locks ] || skip "gcc makes guest/locks.c, and isn't there"
client2_up
client2_mount 2 v3 vers=3
mounts v3 vers=3
mounts nolock vers=3,nolock
images a.img 4 full; damage 1 a.img 4096 512; keep a.img
# What a guest's QEMU holds on a raw image.
on_client2 locks r 100,101,201,203 /mnt/v3/2/a.img 300
# F_GETLK doesn't tell of them: Linux' lockd answers as if it had been asked for a shared lock (nlmsvc_testlock in fs/lockd/svclock.c,
# since "lockd: fix vfs_test_lock() calls" of 2025). An exclusive lock that can't be had does.
m=/mnt/v3
expect 4 quorum-img repair -f raw -y --in-place $m/{1,2,3}/a.img
says $m/2/a.img
kept a.img

rm -f /srv/s1/a.img.quorum-journal
images a.img 4 full; damage 1 a.img 4096 512; keep a.img
m=/mnt/nolock
expect 1 quorum-img check $m/{1,2,3}/a.img
says warning
says locks
expect '2|3|4' quorum-img repair -f raw -y --in-place $m/{1,2,3}/a.img
says no-locks
kept a.img
