# What the machine can do. Servers are 1, 2 and 3: server N has the address 10.77.N.2, its own network and mount namespace, its own
# kernel nfsd, lockd, rpcbind, mountd, statd and nfsdcld, and exports /srv/sN (an ext4 file system of its own). The client is the
# machine's first namespace, and reaches server N over its device cN.

# Programs run from memory: after each `cold` they would be read by 9p again, which takes seconds. This folder is in all namespaces.
mkdir -p /dev/shm/bin
cp -u --remove-destination /lab/bin/* /dev/shm/bin/ 2> /dev/null || true
export PATH=/dev/shm/bin:$PATH

# Waits without a process of its own: nap SECONDS
exec {nothing}<> <(:)
nap() { read -rt "$1" -u $nothing || true; }

# Runs something inside server N: on_server N COMMAND...
on_server() {
    local n=$1; shift
    nsenter --net=/run/netns/s"$n" --mount=/run/servers/s"$n" -- "$@"
}

# The network of server N, and its mount namespace with /run, /var/lib/nfs and /proc/fs/nfsd of its own.
server_net() {
    local n=$1
    ip link add c"$n" type veth peer name e"$n" netns s"$n"
    ip addr add 10.77."$n".1/24 dev c"$n"; ip link set c"$n" up
    ip netns exec s"$n" sh -c "ip link set lo up; ip addr add 10.77.$n.2/24 dev e$n; ip link set e$n up"
    touch /run/servers/s"$n"
    nsenter --net=/run/netns/s"$n" unshare --mount=/run/servers/s"$n" --propagation slave bash -c "
        mount -t tmpfs tmpfs /tmp
        mkdir -p /tmp/nfs/{rpc_pipefs,sm,sm.bak,v4recovery,nfsdcld}
        touch /tmp/nfs/{state,etab,rmtab}
        chown -R statd /tmp/nfs/{sm,sm.bak,state}
        mount --bind /tmp/nfs /var/lib/nfs
        mount -t tmpfs tmpfs /run
        mkdir -p /run/rpc_pipefs /run/lock
        mount -t rpc_pipefs sunrpc /run/rpc_pipefs
        mount -t rpc_pipefs sunrpc /var/lib/nfs/rpc_pipefs
        mount -t nfsd nfsd /proc/fs/nfsd
    "
}

# Starts server N's daemons, those that don't run, and its nfsd: server_start N [GRACE]. For so many seconds only clients of NFSv3 that had
# locks before get any; for those of NFSv4 it is 10, the kernel's least, or until each of them has taken its locks again.
server_start() {
    local n=$1 grace=${2:-10} options=rw,sync,no_subtree_check,no_root_squash,insecure,fsid=$((100 + $1))
    on_server "$n" bash -c "
        runs() { pgrep --ns \$\$ --nslist net -x \$1 >/dev/null; }
        [ -S /run/rpcbind.sock ] || rpcbind -w
        runs nfsdcld || nfsdcld -p /run/rpc_pipefs -s /var/lib/nfs/nfsdcld
        runs rpc.statd || rpc.statd
        runs rpc.mountd || rpc.mountd
        exportfs -o '$options' '*:/srv/s$n'
        if [ \$(cat /proc/fs/nfsd/threads) = 0 ]; then
            echo $grace > /proc/sys/fs/nfs/nlm_grace_period
            echo 10 > /proc/fs/nfsd/nfsv4leasetime; echo 10 > /proc/fs/nfsd/nfsv4gracetime
            rpc.nfsd 4
        fi
    "
}
# Stops its nfsd, and with it all locks (by itself lockd keeps them until their clients are gone); or does what a server does that was
# booted again: NFSv3's clients are told, so that they take their locks again, NFSv4's find out: server_restart N [GRACE]
server_stop() { on_server "$1" sh -c "rpc.nfsd 0; echo /srv/s$1 > /proc/fs/nfsd/unlock_filesystem"; }
server_restart() { server_stop "$1"; sleep 1; server_start "$@"; on_server "$1" sm-notify -f -v 10.77."$1".2; }
# The same of a server that lost its power: what wasn't synced to its disk is lost (ext4's EXT4_IOC_SHUTDOWN, without its journal's rest).
server_crash() {
    server_stop "$1"
    perl -e 'open F, "<", $ARGV[0] and $how = pack "L", 2 and ioctl F, 0x8004587d, $how or die $!' /srv/s"$1" &&
        until_so 20 umount /srv/s"$1" && server_disk "$1" && server_restart "$@"
}
server_disk() { local disk=(- vdb vdc vdd); mount -t ext4 /dev/"${disk[$1]}" /srv/s"$1"; }

# The client's cable to server N, pulled out and put back.
server_cut() { ip link set c"$1" down; }
server_join() { ip link set c"$1" up; }

# Exports server N's folder with other options, or not at all: server_export N OPTIONS
server_export() { on_server "$1" exportfs -o "$2,fsid=$((100 + $1))" "*:/srv/s$1"; }
server_unexport() { on_server "$1" exportfs -u "*:/srv/s$1"; on_server "$1" exportfs -f; }

lab_up() {
    mkdir -p /run/servers /srv/s{1,2,3} /mnt
    # Namespaces can be pinned on a private mount only.
    mount --bind /run/servers /run/servers; mount --make-private /run/servers
    # The disks are the same in all namespaces, also when they are mounted again.
    mount --bind /srv /srv; mount --make-shared /srv
    local n
    for n in 1 2 3; do server_disk $n; ip netns add s$n; done
    for n in 1 2 3; do ( server_net $n; server_start $n 3 ) & done
    # The client's own daemons, for NFSv3's locks.
    mkdir -p /run/rpc_pipefs; mount -t rpc_pipefs sunrpc /run/rpc_pipefs
    chown -R statd /var/lib/nfs/{sm,sm.bak,state}
    rpcbind -w; rpc.statd
    wait
}

# Mounts the three exports at /mnt/NAME/1 to 3: mounts NAME OPTIONS
mounts() {
    local n
    for n in 1 2 3; do mount_one "$n" /mnt/"$1"/"$n" "$2"; done
}
# mount_one N FOLDER OPTIONS [ADDRESS:PATH]; what gets no answer is asked again after 5 s, and not 60
mount_one() { mkdir -p "$2" && mount -t nfs -o "timeo=50,$3" "${4:-10.77.$1.2:/srv/s$1}" "$2"; }

# A second client, h2, that reaches server N by 10.78.N.2: on_client2 COMMAND... runs something there; its mounts are its own.
client2_up() {
    local n
    ip netns add h2
    touch /run/servers/h2 /run/servers/h2.uts
    nsenter --net=/run/netns/h2 ip link set lo up
    for n in 1 2 3; do
        ip link add name h2s"$n" netns h2 type veth peer name f"$n" netns s"$n"
        nsenter --net=/run/netns/h2 sh -c "ip addr add 10.78.$n.1/24 dev h2s$n; ip link set h2s$n up"
        on_server "$n" sh -c "ip addr add 10.78.$n.2/24 dev f$n; ip link set f$n up"
    done
    # A name of its own: NFSv4's servers take two clients of one name for one, which makes both lose their locks again and again.
    nsenter --net=/run/netns/h2 unshare --mount=/run/servers/h2 --uts=/run/servers/h2.uts --propagation slave bash -c '
        hostname h2
        mount -t tmpfs tmpfs /tmp; mkdir -p /tmp/nfs/{sm,sm.bak,rpc_pipefs}; touch /tmp/nfs/state; chown -R statd /tmp/nfs
        mount --bind /tmp/nfs /var/lib/nfs
        mount -t tmpfs tmpfs /run; mkdir -p /run/rpc_pipefs; mount -t rpc_pipefs sunrpc /run/rpc_pipefs
        mount -t tmpfs tmpfs /mnt; rpcbind -w; rpc.statd
    '
}
on_client2() { nsenter --net=/run/netns/h2 --mount=/run/servers/h2 --uts=/run/servers/h2.uts -- "$@"; }
# client2_mount N NAME OPTIONS: its /mnt/NAME/N
client2_mount() { on_client2 mkdir -p /mnt/"$2"/"$1"; on_client2 mount -t nfs -o "$3" 10.78."$1".2:/srv/s"$1" /mnt/"$2"/"$1"; }

# Waits until a command succeeds, so many seconds at most: until_so SECONDS COMMAND...
until_so() {
    local end=$((SECONDS + $1)); shift
    until "$@" > /dev/null 2>&1; do
        [ $SECONDS -lt $end ] || return 1
        nap 0.2
    done
}
# Bytes that were fetched from the server of a mount so far, and whether they are more than so many.
read_of() { awk -v at="$1" '$1 == "device" { on = ($5 == at) } on && $1 == "bytes:" { print $6 }' /proc/self/mountstats; }
read_more() { [ "$(read_of "$1")" -gt "$2" ]; }
# Does something in the background once so many more bytes came from a mount, which is the middle of a slow command however fast the
# machine is: meanwhile FOLDER BYTES COMMAND...
meanwhile() {
    local folder=$1 bytes=$(($(read_of "$1") + $2)); shift 2
    rm -f /tmp/begun
    ( until_so 60 read_more "$folder" $bytes && touch /tmp/begun && "$@" ) > /dev/null &
    meanwhile=$!
}
