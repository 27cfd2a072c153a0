# A soft mount gives every read up when its server is gone for some seconds. Its member has failed then: not each of its sectors is to
# be waited for, and none of them is unreadable as a bad sector of a disk is.
mounts soft vers=3,soft,timeo=10,retrans=1
m=/mnt/soft
images a.img 16 full
begin quorum-img check -T none -r 6M --report /tmp/report.json $m/{1,2,3}/a.img
meanwhile $m/3 3000000 server_cut 3
claim "ends within 60 s" until_so 60 finished
happened
finished || kill -KILL $pid
server_join 3
finish 1
tells 'Failed: #2'
reports '.members[2].status == "failed"'
reports '.members[2]["unreadable-sectors"] == 0'
