# Repairs in place whose program is killed, or a server of which is booted again or loses its power, or program and server at once, at any
# moment of their writing: 20 such events. Then the same command completes it, or undo takes it back, or both one after the other; the
# bytes are looked at on the servers. $SEED repeats a run.
seed=${SEED:-$(($(date +%s) % 32768))}
echo "seed: SEED=$seed"
RANDOM=$seed
rounds=20
mounts v3 vers=3
mounts v42 vers=4.2
images a.img 4 full
# Each copy is damaged in a third of its own, in so many places that they are rewritten in several batches.
third=$((4 * 1024 * 1024 / 3 / 65536))
for n in 1 2 3; do for ((i = 0; i < third; i += 2)); do damage $n a.img $(((third * (n - 1) + i) * 65536)) 32768; done; done
keep a.img
journal=/srv/s1/a.img.quorum-journal
scene() {
    local n
    for n in 1 2 3; do cat /tmp/kept$n > /srv/s$n/a.img; done
    rm -f $journal
    cold
}
milliseconds() { date +%s%3N; }
repair="quorum-img repair -f raw -y --in-place --max-damage 100"
# Begins it, and waits until its journal is there, or it is over.
writing() {
    scene
    begin $repair $m/{1,2,3}/a.img
    until [ -e $journal ] || finished; do nap 0.02; done
}

# How long the writing takes when nothing happens.
m=/mnt/v3
writing; start=$(milliseconds); wait $pid; length=$(($(milliseconds) - start))
whole a.img

for ((round = 1, late = 0; round <= rounds && late <= rounds; )); do
    m=/mnt/v3; [ $((RANDOM % 2)) = 0 ] || m=/mnt/v42
    n=$((RANDOM % 3 + 1))
    events=(kill kill kill "restart of server $n" "crash of server $n" "kill and crash of server $n"); event=${events[RANDOM % 6]}
    after=$((length * (RANDOM % 1000) / 1000))
    then=(again undo "again and undo"); then=${then[RANDOM % 3]}
    writing
    nap "$((after / 1000)).$(printf %03d $((after % 1000)))"
    in_time=yes
    case $event in
        kill*) kill -KILL $pid 2> /dev/null || true ;;
        *) server_stop $n; ! finished || in_time=no ;;
    esac
    case $event in
        *crash*) server_crash $n 3 ;;
        restart*) server_restart $n 3 ;;
    esac > /dev/null
    stat -f /mnt/v42/$n > /dev/null # an idle client that takes long to come back keeps a server that started again from giving locks
    code=0; wait $pid 2> /dev/null || code=$?
    # What came when it was over already is no round, and the next ones come sooner.
    case $event:$code in kill*:137) ;; kill*) in_time=no ;; esac
    if [ $in_time = no ]; then late=$((late + 1)) length=$((length * 19 / 20)); continue; fi
    verdict "round $round: $event on $m, $after of $length ms into writing, ended with $code; then $then" 0
    round=$((round + 1))
    case $then in again*) expect 0 $repair $m/{1,2,3}/a.img; whole a.img ;; esac
    case $then in *undo) expect 0 quorum-img undo -y $m/1/a.img.quorum-journal; kept a.img ;; esac
done
claim "$late more came too late" [ $late -le $rounds ]
