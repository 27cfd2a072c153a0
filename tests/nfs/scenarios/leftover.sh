# A new image is written under another name first. On NFS that name is seen, and stays when the program is killed: the next one into that
# folder removes it.
leftovers() { ls -A /srv/s3 | grep -vxE 'lost\+found|a.img|out.img' || true; }
some_left() { [ -n "$(leftovers)" ] && [ "$(du -ks /srv/s3/"$(leftovers)" | cut -f1)" -gt 1000 ]; }
for version in 3 4.2; do
    m=/mnt/v$version
    mounts v$version vers=$version
    images a.img 16 full
    begin quorum-img repair -r 6M -f raw -o $m/3/out.img $m/{1,2,3}/a.img
    until_so 60 some_left
    kill -KILL $pid; wait $pid 2> /dev/null || true
    left=$(leftovers); claim "the killed one left something: $left" [ -n "$left" ]
    expect 0 quorum-img repair -f raw -o $m/3/out.img $m/{1,2,3}/a.img
    expect 0 cmp /srv/s3/out.img /tmp/whole
    left=$(leftovers); claim "the next one left nothing: $left" [ -z "$left" ]
    (cd /srv/s3 && rm -f out.img $left)
done
