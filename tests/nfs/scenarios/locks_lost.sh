# A server of NFSv4 that hears nothing of a client for longer than its lease (10 s) gives that client's locks to others. From then on the
# member may be written to by somebody else: it can't vote any more, and nothing may be written to it.
[ -x /lab/bin/locks ] || skip "gcc makes guest/locks.c, and isn't there"
client2_up
client2_mount 2 v42 vers=4.2
# Without delegations: a delegated file's locks are no server's. Linux' client (6.1) also hangs now and then when a delegation is called
# back while it takes a lost lease up again, with everything of that server: its two state managers wait for each other.
echo 0 > /proc/sys/fs/leases-enable
mounts v42 vers=4.2
m=/mnt/v42
# Another machine's program starts to write to the image while this one is cut off, and keeps its lock for so many seconds: lose SECONDS
lose() {
    server_cut 2
    until_so 90 on_client2 locks w 201 /mnt/v42/2/a.img "$1" && touch /tmp/lost
    server_join 2
}
lost() { claim "another client got its lock" [ -e /tmp/lost ]; rm -f /tmp/lost; }

images a.img 8 full
# It still writes.
meanwhile $m/2 1500000 lose 60
expect 1 quorum-img check -T none -r 3M --report /tmp/report.json $m/{1,2,3}/a.img
happened; lost
says "its locks were lost"
tells 'Failed: #1'
reports '.members[1].status == "failed"'

images a.img 8 full; damage 2 a.img 4096 8192; damage 2 a.img 7000064 8192; keep a.img
# It was there, and is gone: the lock could be had again, but what was read or planned before may not be so any more.
meanwhile $m/2 1500000 lose 0
expect '1|2|3' quorum-img repair -f raw -y --in-place -r 3M $m/{1,2,3}/a.img
happened; lost
says "its locks were lost"
kept a.img
