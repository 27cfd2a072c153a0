# Repairs in place whose program is killed, or a server of which is booted again, at any moment of their writing. Then the same command
# completes it, or undo takes it back, or both one after the other; the bytes are looked at on the servers. $SEED repeats a run.
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
scene() {
    local n
    for n in 1 2 3; do cat /tmp/kept$n > /srv/s$n/a.img; done
    rm -f /srv/s1/a.img.quorum-journal
    cold
}
milliseconds() { date +%s%3N; }
# Waits until the journal is there, or the repair is over.
writing() { until [ -e /srv/s1/a.img.quorum-journal ] || finished; do sleep 0.05; done; }

# How long the writing takes when nothing happens.
m=/mnt/v3
scene
begin quorum-img repair -f raw -y --in-place --max-damage 100 $m/{1,2,3}/a.img
writing; start=$(milliseconds); wait $pid; length=$(($(milliseconds) - start))
whole a.img

for ((round = 1; round <= rounds; round++)); do
    m=/mnt/v3; [ $((RANDOM % 2)) = 0 ] || m=/mnt/v42
    event=kill; [ $((RANDOM % 5)) -gt 1 ] || event="restart of server $((RANDOM % 3 + 1))"
    after=$((length * (RANDOM % 800) / 1000))
    then=(again undo "again and undo"); then=${then[RANDOM % 3]}
    scene
    begin quorum-img repair -f raw -y --in-place --max-damage 100 $m/{1,2,3}/a.img
    writing
    sleep "$((after / 1000)).$(printf %03d $((after % 1000)))"
    case $event in
        kill) kill -KILL $pid 2> /dev/null || true ;;
        *) server_restart ${event##* } 5 > /dev/null ;;
    esac
    code=0; wait $pid 2> /dev/null || code=$?
    verdict "round $round: $event on $m, $after of $length ms into writing, ended with $code; then $then" 0
    case $then in again*) expect 0 quorum-img repair -f raw -y --in-place --max-damage 100 $m/{1,2,3}/a.img; whole a.img ;; esac
    case $then in *undo) expect 0 quorum-img undo -y $m/1/a.img.quorum-journal; kept a.img ;; esac
done
