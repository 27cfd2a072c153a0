# An undo needs no room: what the repair put into holes is there already, and the journal kept room for what the undo notes. The healed
# copy and the journal are on a server that is full meanwhile.
for version in 3 4.2; do
    m=/mnt/v$version
    mounts v$version vers=$version
    images a.img 16 full
    fallocate --punch-hole -o 4M -l 1M /srv/s2/a.img; fallocate --punch-hole -o 12288 -l 4096 /srv/s2/a.img
    keep a.img
    expect 0 quorum-img repair -f raw -y --in-place $m/{2,1,3}/a.img
    whole a.img
    # All of it, roughly and then to the last block.
    sync; fallocate -l $(($(df -k --output=avail /srv/s2 | tail -n 1) * 1000)) /srv/s2/fill
    expect 1 dd if=/dev/zero of=/srv/s2/fill2 bs=64K
    says "No space left"
    dd if=/dev/zero of=/srv/s2/fill3 bs=512 2>/dev/null || true
    cold
    expect 0 quorum-img undo -y $m/2/a.img.quorum-journal
    kept a.img
    rm -f /srv/s2/fill* $m/2/a.img.quorum-journal
done
