# Expectations. What the last command said is in /tmp/stdout and /tmp/stderr.

scenario=${scenario:-scenario}
met=0
missed=0
told=yes # whether the last command's output was shown

# verdict WHAT IS-IT: counts and tells an expectation; where it is not met, what the last command said comes with it.
verdict() {
    if [ "$2" = 0 ]; then met=$((met + 1)); echo "ok $scenario: $1"; return; fi
    missed=$((missed + 1)); echo "NOT ok $scenario: $1"
    [ $told = yes ] || { head -n 40 /tmp/stdout; head -n 40 /tmp/stderr; } | sed 's/^/    | /'
    told=yes
}

# expect CODE COMMAND...: that it ends with this code, or one of several, `2|3`; 124 where it doesn't end within $limit seconds.
limit=120
expect() {
    local codes=$1 start=$SECONDS; shift
    rm -f /tmp/report.json
    { timeout -k 5 $limit "$@" > /tmp/stdout 2> /tmp/stderr; } 2> /dev/null; code=$?
    took=$((SECONDS - start)); told=no
    ended "$codes" "$*"
}
# begin COMMAND...: in the background, as $pid; finished: whether it is over; finish CODES: waits for it, and expects one of these codes.
# A process without memory is over, be it a zombie or not yet: the kernel may still be giving back its locks of NFSv3, without an end
# where their server is gone, on a soft mount too. Waiting for it takes a server that is back.
begin() {
    rm -f /tmp/report.json
    "$@" > /tmp/stdout 2> /tmp/stderr &
    pid=$! told=no began=$SECONDS
}
finished() { ! grep -q "^VmSize" /proc/$pid/status 2> /dev/null; }
finish() {
    code=0; wait $pid 2> /dev/null || code=$?
    took=$((SECONDS - began))
    ended "$1" "the command's end"
}
# ended CODES WHAT: judges $code
ended() {
    local is=1
    case "|$1|" in *"|$code|"*) is=0 ;; esac
    verdict "$2: $([ $is = 0 ] || echo "not $1, but ")$code after $took s" $is
}
# claim WHAT COMMAND...: that the command, which is no test object but looks at one, succeeds
claim() { local what=$1 is=0; shift; "$@" > /dev/null 2>&1 || is=1; verdict "$what" $is; }
# says TEXT, mute TEXT: that the last command did or did not say so, on whichever output
said() { grep -qF -- "$1" /tmp/stdout /tmp/stderr; }
unsaid() { ! said "$1"; }
says() { claim "says \"$1\"" said "$1"; }
mute() { claim "doesn't say \"$1\"" unsaid "$1"; }
# tells REGEX: that a line of its standard output matches
tells() { claim "has a line /$1/" grep -qE -- "$1" /tmp/stdout; }
within() { claim "within $1 s, and took $took" [ $took -le "$1" ]; }
# reports FILTER: that jq's filter holds of the last --report /tmp/report.json
reports() { claim "the report: $1" jq -e "$1" /tmp/report.json; }
# happened: that what was to be done meanwhile was begun before the command ended, and has an end now
happened() {
    claim "what should happen meanwhile did" [ -e /tmp/begun ]
    [ -e /tmp/begun ] || kill $meanwhile || true
    wait $meanwhile || true
}
# whole NAME, kept NAME: that on every server a file is what was made, or what it was at the last `keep`
whole() { local n; for n in 1 2 3; do alike "$1" $n /tmp/whole "whole"; done; }
kept() { local n; for n in 1 2 3; do alike "$1" $n /tmp/kept$n "as it was"; done; }
alike() {
    local differ
    differ=$(cmp /srv/s"$2"/"$1" "$3" 2>&1)
    claim "$1 is $4 on server $2${differ:+: $differ}" [ -z "$differ" ]
}
# The end of a scenario.
over() { echo "== $scenario: $met met, $missed not"; return $((missed > 0)); }
skip() { echo "SKIPPED $scenario: $1"; exit 77; }

# What only makes ready has to work, too.
trap 'missed=$((missed + 1)); echo "NOT ok $scenario: line $LINENO, which makes ready: $BASH_COMMAND"' ERR
