#!/bin/sh
# demo.sh: runs a copy of scripts/hospital-a for a few seconds: a laboratory, an EHR and the engine on
# this machine; sends the samples, shows what came out, mends what was parked, stops everything. Exit
# status 0 only when everything came out as expected (contrib/demo.lua knows what that is).
# LUNATE=path of the binary to use; NO_COLOR=1 for plain text.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
lunate=${LUNATE:-$root/build/lunate}
[ -x "$lunate" ] || {
  echo "demo: there is no $lunate: run make first" >&2
  exit 1
}
tmp=$(mktemp -d "${TMPDIR:-/tmp}/lunate-demo.XXXXXX")
site=$tmp/site
started='' engine=''

# stop PID: SIGTERM, and SIGKILL when it is still there after 10 s; true when it ended well.
stop() {
  kill "$1" 2>/dev/null || return 1
  ( sleep 10 && kill -9 "$1" ) >/dev/null 2>&1 &
  guard=$! status=0
  wait "$1" 2>/dev/null || status=$?
  kill "$guard" 2>/dev/null || :
  return "$status"
}
cleanup() {
  trap - EXIT
  for pid in $engine $started; do kill "$pid" 2>/dev/null || :; done
  for pid in $engine $started; do wait "$pid" 2>/dev/null || :; done
  rm -rf "$tmp"
}
trap cleanup EXIT
trap 'exit 130' INT
trap 'exit 143' TERM HUP
trap 'exit 141' PIPE

colour=''
[ ! -t 1 ] || [ -n "${NO_COLOR:-}" ] || [ "${TERM:-dumb}" = dumb ] || colour=1
paint() {
  if [ "$colour" ]; then printf '\033[%sm%s\033[0m\n' "$1" "$2"; else printf '%s\n' "$2"; fi
}
title() { echo && paint 1 "$1"; }
die() {
  paint 31 "demo: $1" >&2
  [ ! -f "$tmp/engine.err" ] || sed 's/^/  engine: /' "$tmp/engine.err" >&2
  exit 1
}
# Shows a command as one would type it in the site's folder, and runs it.
say() {
  printf '\n'
  paint 36 "\$ lunate $*"
  "$lunate" -C "$site" "$@"
}
logic() { DEMO_COLOUR=$colour "$lunate" lua "$root/contrib/demo.lua" "$@"; }
# until_true WHAT COMMAND...: tries for 10 s.
until_true() {
  what=$1 tries=0
  shift
  until "$@" >/dev/null 2>&1; do
    tries=$((tries + 1))
    [ "$tries" -lt 200 ] || die "waited 10 s for $what"
    sleep 0.05
  done
}

# listener NAME PORT [OPTION...]: `lunate listen` on PORT, or on any free one when it is taken. Sets
# pid and port.
listener() {
  name=$1 want=$2
  shift 2
  for port in "$want" 0; do
    : >"$tmp/$name.err"
    "$lunate" listen "$port" "$@" >"$tmp/$name.out" 2>"$tmp/$name.err" &
    pid=$!
    while ! grep -q '^ready' "$tmp/$name.err" && kill -0 "$pid" 2>/dev/null; do sleep 0.02; done
    port=$(sed -n 's/^listening on .*:\([0-9]*\)$/\1/p' "$tmp/$name.err")
    if [ "$port" ]; then return; fi
    wait "$pid" || :
  done
  cat "$tmp/$name.err" >&2
  die "cannot listen for the $name"
}
# A port for the engine to listen on: found by listening on it for a moment.
free_port() {
  listener probe "$1"
  stop "$pid" || :
}

cp -R "$root/scripts/hospital-a" "$site"
rm -rf "$site/data"
paint 1 "Hospital A: an EHR and a laboratory that talk through Lunate"
listener lab 6662 --quiet --out "$tmp/lab"
started=$pid LAB_PORT=$port
listener ehr 6672 --quiet --out "$tmp/ehr"
started="$started $pid" EHR_PORT=$port
free_port 6661 && ADT_PORT=$port
free_port 6671 && ORU_PORT=$port
export LAB_PORT EHR_PORT ADT_PORT ORU_PORT
cat <<EOF
  EHR --ADT--> :$ADT_PORT adt_to_lab --> laboratory :$LAB_PORT
  laboratory --ORU--> :$ORU_PORT oru_to_ehr --> EHR :$EHR_PORT
                                     \\---> archive
EOF

title "1. The engine starts"
"$lunate" -C "$site" run >"$tmp/engine.out" 2>"$tmp/engine.err" &
engine=$!
until_true "the engine to be ready" grep -q '^ready' "$tmp/engine.err"
cd "$site"
paint 36 "\$ lunate run &"
paint 2 "ready"

title "2. The EHR sends five messages, the laboratory three"
say send "127.0.0.1:$ADT_PORT" samples/adt_*.hl7
say send "127.0.0.1:$ORU_PORT" samples/oru_final.hl7 samples/oru_preliminary.hl7 \
  samples/oru_corrected.hl7

# Everything processed and delivered?
settled() {
  "$lunate" -C "$site" status --json >"$tmp/status.json" && logic settled "$tmp/status.json"
}
# report STAGE: compares what went in with what the laboratory and the EHR really got.
report() {
  until_true "the queues to be empty" settled
  "$lunate" -C "$site" messages --limit 100 --json >"$tmp/messages.json"
  logic ids "$tmp/messages.json" >"$tmp/ids"
  mkdir -p "$tmp/show"
  while read -r id; do
    "$lunate" -C "$site" show "$id" --json >"$tmp/show/$(echo "$id" | tr / -).json"
  done <"$tmp/ids"
  logic "$1" show "$tmp"/show/*.json lab "$tmp"/lab/*.hl7 ehr "$tmp"/ehr/*.hl7
}
title "3. What went in, and what came out  (~ changed, + added)"
failed=0
report first || failed=1

title "4. How the engine sees it"
say status
say messages

title "5. One message waits for a hand: its facility is not in the table. Add it, and process again"
parked=$(logic parked "$tmp/messages.json")
new='HARBOUR,HA11,Hospital A Harbour,+12025550140'
printf '\n'
paint 36 "\$ echo '$new' >> tables/facilities.csv"
echo "$new" >>"$site/tables/facilities.csv"
say reload adt_to_lab
say resend "$parked" --reprocess
echo
report second || failed=1
say show "$(logic newest ADT0005 "$tmp/messages.json")"

title "6. The engine stops"
stop "$engine" || die "the engine did not end well"
engine=''
for pid in $started; do stop "$pid" || failed=1; done
started=''
[ "$failed" -eq 0 ] || die "something did not come out as expected (above)"
paint 32 "Everything came out as expected."
