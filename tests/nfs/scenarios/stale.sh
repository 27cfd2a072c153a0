# A file that is gone on its server, or that isn't exported any more, is stale here (ESTALE): its member failed, and the others decide.
# It is not one that another program writes to.
mounts v3 vers=3
mounts v42 vers=4.2
replace() { cp /srv/s2/a.img /srv/s3/new.img; mv /srv/s3/new.img /srv/s3/a.img; }

stale() { # MOUNT EVENT [CHECK'S OPTIONS]
    local m=/mnt/$1 event=$2; shift 2
    images a.img 16 full
    meanwhile $m/3 3000000 $event 3
    expect 1 quorum-img check -r 6M --report /tmp/report.json "$@" $m/{1,2,3}/a.img
    happened
    mute "stop whatever writes to it"
    tells 'Failed: #2'
    reports '.members[2].status == "failed"'
}
stale v3 server_unexport -T none # EACCES, for the server knows nothing of this client any more
server_start 3
on_server 3 exportfs -o ro,fsid=203 '*:/tmp' # something else, and it is ESTALE
stale v42 server_unexport
server_start 3
stale v3 replace -T none
