# A hard mount waits for its server for ever. --timeout is how long we do; without it we say what we wait for, and can be stopped.
mounts hard vers=3
m=/mnt/hard
images a.img 16 full

begin quorum-img check --timeout 20s -T none -r 6M --report /tmp/report.json $m/{1,2,3}/a.img
meanwhile $m/3 3000000 server_cut 3
claim "ends within 60 s" until_so 60 finished
happened
server_join 3
finish 1
tells 'Failed: #2'
reports '.members[2].status == "failed"'

cold
begin quorum-img check -q -T none -r 6M $m/{1,2,3}/a.img
meanwhile $m/3 3000000 server_cut 3
claim 'says "waiting for" within 60 s' until_so 60 grep -q 'waiting for' /tmp/stderr
happened
kill -TERM $pid
claim "TERM ends it within 10 s" until_so 10 finished
server_join 3
finish '130|143'
