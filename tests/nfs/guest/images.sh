# Images, made on the servers' own file systems: the same bytes on every server.

# image N NAME MIB holes|full: random bytes; with holes only 1 MiB in 8 holds data.
image() {
    local n=$1 file=/srv/s$1/$2 mib=$3 kind=$4 at
    [ -e /tmp/seed ] || head -c 16M /dev/urandom > /tmp/seed
    rm -f "$file"; truncate -s "$mib"M "$file"
    if [ "$kind" = full ]; then
        for ((at = 0; at < mib; at += 16)); do dd if=/tmp/seed of="$file" bs=1M seek=$at count=$((mib - at)) conv=notrunc status=none; done
    else
        for ((at = 0; at < mib; at += 8)); do dd if=/tmp/seed of="$file" bs=1M skip=$((at / 8 % 16)) seek=$at count=1 conv=notrunc status=none; done
    fi
}
# images NAME MIB holes|full: on all servers and as /tmp/whole, and in no client's cache
images() { local n; for n in 1 2 3; do image $n "$@"; done; cp --sparse=always /srv/s1/"$1" /tmp/whole; cold; }
# Writes all to the servers' disks and empties the caches: what is read next comes from the servers.
cold() { sync; echo 3 > /proc/sys/vm/drop_caches; }
# damage N NAME OFFSET LENGTH: other bytes there, written on the server.
damage() { head -c "$4" /dev/zero | tr '\0' 'X' | dd of=/srv/s"$1"/"$2" bs="$4" seek="$3" oflag=seek_bytes conv=notrunc,fsync status=none; }
# keep NAME: its bytes on all servers as they are now, as /tmp/kept1 to 3
keep() { local n; for n in 1 2 3; do cp --sparse=always /srv/s$n/"$1" /tmp/kept$n; done; cold; }
