-- Help pages: examples for every verb, usage for those whose options C parses.
return {
  new = {
    examples = { "lunate new site hospital_a", "lunate -C hospital_a new channel results",
      "lunate -C hospital_a new channel lab_in --type ORU",
      "lunate -C hospital_a new channel vaccines --from received.hl7",
      "lunate -C hospital_a new editor" },
    about = "Makes a script with comments, a sample message and a spec. Never writes over a\n" ..
      "file. --from takes type and sample from a file's first message, whose names,\n" ..
      "identifiers and dates become pseudonyms (as `lunate deid` does it).",
  },
  check = {
    examples = { "lunate -C hospital_a check", "lunate check --json" },
    about = "Exit status 1 when something is wrong; each mistake is a line with file:line.",
  },
  repl = {
    examples = { "lunate repl samples/adt_in.hl7", "lunate -C hospital_a repl -c adt_to_lab",
      "echo '=msg[\"PID-5.1\"]' | lunate repl message.hl7" },
    about = "At its prompt .help lists what there is. Tab completes with the values of the\n" ..
      "message, ?PID-3 explains. Scripts run in a process of their own. Nothing is sent\n" ..
      "unless --live: then .run does it, to the channel's real destinations.\n" ..
      "Without a terminal it reads lines and prints results; status 1 when one was an error.",
  },
  tutor = {
    examples = { "lunate tutor", "lunate tutor 8" },
    about = "Each lesson says what to do and looks whether it was done. Needs no site. Goes on\n" ..
      "where it was left.",
  },
  eval = {
    examples = { "lunate eval -c adt_to_lab samples/adt_a01.hl7",
      "lunate eval -c adt_to_lab --diff samples/*.hl7",
      "lunate eval -c adt_to_lab --annotate samples/adt_a01.hl7",
      "lunate eval -c adt_to_lab --html samples/*.hl7 > run.html" },
    about = "Runs filter and transform in a worker, as the engine does. Sends and stores nothing.",
  },
  test = {
    examples = { "lunate -C hospital_a test", "lunate test spec/adt_to_lab_spec.lua",
      "lunate test --watch", "lunate test --coverage --lcov lcov.info",
      "lunate test --output junit > report.xml" },
    about = "Specs are busted's, with the globals hl7, json, lunate, messages and for_all:\n" ..
      "lunate.channel(NAME):run(message), lunate.sample(NAME), lunate.golden(NAME, output),\n" ..
      "assert.field, assert.sends, assert.filtered, assert.fails. Needs busted (lua-busted).",
  },
  replay = {
    examples = { "lunate replay -c adt_to_lab --last 10000",
      "lunate replay -c adt_to_lab --since 3d --script new/adt_to_lab.lua --examples 2" },
    about = "Compares with what was really sent; sends and writes nothing. Exit status 0: no\n" ..
      "change, 1: something would come out differently. The script is told the time of then.\n" ..
      "kv is a copy of what the store holds now (--kv none: empty), thrown away at the end.",
  },
  run = {
    examples = { "lunate -C hospital_a run" },
    about = "Prints \"ready\" on stderr when every listener is open. SIGTERM drains and stops,\n" ..
      "SIGHUP reloads the scripts, SIGUSR1 opens the log file again.",
    usage = "lunate [-C SITE] run [--log text|json] [--log-file PATH]",
  },
  audit = {
    examples = { "lunate audit list --since 1d --user anna",
      "lunate audit list --channel adt_in --json",
      "lunate audit verify --public-key /safe/public.pem --syslog /var/log/auth.log" },
    about = "Exit status 1 when the log is not whole: each thing that is wrong is named with\n" ..
      "file, line and entry. docs/security.md says what is recorded, and what that proves.",
  },
  token = {
    examples = { "lunate token new prometheus", "lunate token new ci --role developer --days 12h",
      "LUNATE_TOKEN=$(cat ci.token) lunate reload", "lunate token revoke 3f2a9c0d1e4b5a67" },
    about = "Only a hash of a token is kept: it is shown once. With LUNATE_TOKEN set, a verb\n" ..
      "that asks the engine has the token's rights instead of the account's.",
  },
  status = {
    examples = { "lunate -C hospital_a status", "lunate status --json" },
  },
  top = {
    examples = { "lunate top", "lunate -C hospital_a top --interval 5" },
    about = "Ctrl-C ends it and gives the screen back.",
  },
  reload = {
    examples = { "lunate reload --plan", "lunate reload", "lunate reload adt_to_lab" },
    about = "Scripts, modules, tables, settings, new and deleted channels. What does not load\n" ..
      "is refused, and the old one keeps running. --plan says what would change.",
  },
  versions = {
    examples = { "lunate versions adt_to_lab", "lunate versions adt_to_lab --json" },
    about = "A version is all that the script is made of: its files, lib/ and tables/. The\n" ..
      "store keeps it as long as a message that it handled is kept, and some more.",
  },
  rollback = {
    examples = { 'lunate rollback adt_to_lab --reason "wrong unit, INC-17"',
      "lunate rollback adt_to_lab 3f2a9c" },
    about = "Without VERSION: the one that ran before. The channel stays with it, also after a\n" ..
      "restart and a reload of all, until `lunate reload CHANNEL` finds mended files.",
  },
  start = { examples = { "lunate start adt_to_lab" } },
  stop = {
    examples = { "lunate stop adt_to_lab", "lunate stop adt_to_lab --grace 0" },
    about = "Closes the listener, ends what is in hand, then the worker. What is not done\n" ..
      "within the grace period is cut off, and given or sent again after the next start.",
  },
  drain = {
    examples = { "lunate drain adt_to_lab --timeout 600" },
    about = "Takes nothing new, processes and delivers all it has, then stops. Status 1 when\n" ..
      "the time-out is over first: it drains on.",
  },
  pause = { examples = { "lunate pause adt_to_lab" } },
  resume = { examples = { "lunate resume adt_to_lab" } },
  hold = { examples = { "lunate hold adt_to_lab/lab" } },
  release = { examples = { "lunate release adt_to_lab/lab" } },
  step = {
    examples = { "lunate hold adt_to_lab/lab && lunate step adt_to_lab/lab" },
    about = "One try of the first message, and what came of it: sent (status 0), parked or not\n" ..
      "sent (status 1; it stays the first).",
  },
  skip = {
    examples = { 'lunate skip adt_to_lab/lab --reason "refused for a wrong visit number, INC-17"',
      'lunate skip adt_to_lab/lab 4711 --reason "INC-17"' },
    about = "The message is set aside with the reason (`lunate messages --state parked`)\n" ..
      "and can be resent later. With its number it is skipped only when it is the first.",
  },
  reposition = {
    examples = { 'lunate reposition adt_to_lab/lab --to 2026-11-23T10:00 --reason "restored"',
      'lunate reposition adt_to_lab/lab --to end --reason "lab has them" --yes' },
    about = "The destination must be held. Back: what was delivered since then goes out again,\n" ..
      "in order. Forward: what is queued before that is passed over and not sent.",
  },
  alerts = {
    examples = { "lunate alerts", "lunate alerts test", "lunate alerts test duty",
      "lunate alerts silence disconnected adt_in/lab --for 2h --reason 'lab moves'",
      "lunate alerts silence '*' --for 30m --reason 'planned work'",
      "lunate alerts unsilence disconnected", "lunate alerts ack 1126022259-1 --reason 'on it'",
      "lunate alerts usual" },
    about = "Rules and targets stand in lunate.lua: alerts = { targets = ..., rules = ... }.\n" ..
      "test sends through every target (or the one named) and says what failed; status 1 then.\n" ..
      "silence: nothing is sent for what falls under it; what still fires at its end is told.\n" ..
      "ack: no more repeats of what fires now; something new, and its end, are told.\n" ..
      "usual: what has been learned of each channel, for the rule silence.",
  },
  metrics = {
    examples = { "lunate metrics", "curl 127.0.0.1:8661/metrics" },
    about = "Over HTTP, with /healthz and /readyz, when lunate.lua has\n" ..
      '`admin = "127.0.0.1:8661"`.',
  },
  messages = {
    examples = { "lunate messages adt_to_lab --state parked",
      "lunate messages --since 2h --limit 100", "lunate messages --patient 100001",
      "lunate messages --control-id MSG0001 --json",
      "lunate messages results --type ORU^R01 --where 'OBX-3.1 = 718-7' --since 3d",
      "lunate messages --text 'MAIDEN NAME' --since 1d",
      "lunate messages --archive --control-id 4711" },
    about = "Newest first. Reads the store, whether the engine runs or not. Parked ones say\n" ..
      "why. Control id and patient are looked up; --where and --text read every message\n" ..
      "back to --since (Ctrl-C ends that). A path without numbers means any segment and\n" ..
      "repetition.",
  },
  tail = {
    examples = { "lunate tail", "lunate tail -f adt_to_lab", "lunate tail -f --type ORU" },
    about = "Oldest first. The state of a message is the one it has when it is first seen.",
  },
  show = {
    examples = { "lunate show adt_to_lab/17", "lunate show adt_to_lab/17 --full",
      "lunate show adt_to_lab/17 --raw > a01.hl7", "lunate show adt_to_lab/17 --json" },
    about = "On a terminal long fields (documents, images) are cut; --full shows them whole.",
  },
  trace = {
    examples = { "lunate trace adt_to_lab/17", "lunate trace MSG0001" },
    about = "From where the message came in: scripts, deliveries, hand-overs to other\n" ..
      "channels, what operators sent again, with the time since receipt.",
  },
  resend = {
    examples = { "lunate resend adt_to_lab/17", "lunate resend adt_to_lab/17 --dest lab",
      "lunate resend adt_to_lab/17 --reprocess", "lunate resend adt_to_lab/17 --edit",
      "lunate resend adt_to_lab --state parked --since 2h --dest lab --yes" },
    about = "Makes a new entry that names its origin. Without --reprocess the same outputs\n" ..
      "go out again; with it the message runs through the present script. What is parked at\n" ..
      "a destination goes there alone (--all: to all). With filters: oldest first.",
  },
  settle = {
    examples = { 'lunate settle adt_to_lab/17 --reason "entered by hand, INC-17"',
      'lunate settle adt_to_lab --since 2h --reason "all of the test patient" --yes' },
    about = "For parked messages that were dealt with outside of the engine.",
  },
  verify = {
    examples = { "lunate verify", "lunate verify /backup/2026-11-25 --json" },
    about = "Every record against its checksum, every cursor, count, map and index against\n" ..
      "the records; a line for each thing that is wrong, and exit status 1. While an engine\n" ..
      "writes, counts of channels that change are not compared: verify a backup instead.",
  },
  backup = {
    examples = { "lunate -C hospital_a backup /backup/2026-11-25" },
    about = "The store alone: the site's text belongs in version control. The engine goes on.\n" ..
      "The folder must be empty, or not there.",
  },
  restore = {
    examples = { "lunate -C hospital_a restore /backup/2026-11-25 --force" },
    about = "Only while no engine runs. What was queued when the copy was made goes out\n" ..
      "(again) when it does; what was received later is not in the copy.",
  },
  key = {
    examples = { "lunate key new /etc/lunate/store.key", "lunate -C hospital_a key status",
      "lunate key new --add /etc/lunate/store.key && lunate -C hospital_a key rotate",
      "lunate -C hospital_a key encrypt" },
    about = "lunate.lua names the key: encryption = { key_file = \"store.key\" } or\n" ..
      "{ key_command = \"...\" }, which writes it to standard output. rotate: the running\n" ..
      "engine reads the key anew. encrypt: rewrites the whole store under a new data key,\n" ..
      "while no engine runs; what was in clear is then encrypted, too.",
  },
  send = {
    examples = { "lunate send 127.0.0.1:6661 samples/adt_a01.hl7",
      "lunate send 127.0.0.1:6661 adt.hl7 --count 100000 --connections 16 --unique-ids",
      "lunate send 127.0.0.1:6661 adt.hl7 --count 5000 --rate 200 --json" },
    about = "A file holds one message, several one after another, a batch, or MLLP frames; -\n" ..
      "is standard input. Each connection waits for a reply before it sends on. Exit\n" ..
      "status 1 when a message was not accepted, 3 when it cannot connect. With --rate the\n" ..
      "latency counts from when a message was due.",
    usage = "lunate send HOST:PORT[,HOST:PORT...] FILE...   connections go to them in turn\n" ..
      "  --count N        so many messages in all, round robin\n" ..
      "  --connections N  so many connections (1)\n" ..
      "  --rate R         so many messages a second over all connections\n" ..
      "  --timeout S      seconds to wait for a reply, or to connect (10)\n" ..
      "  --unique-ids     append -1, -2, ... to MSH-10\n" ..
      "  --tls            encrypted\n" ..
      "  --ca FILE        authorities to trust\n" ..
      "  --cert FILE      our certificate\n" ..
      "  --key FILE       its key\n" ..
      "  --crl FILE       certificates that are revoked\n" ..
      "  --min-version V  1.2 (as without it) or 1.3\n" ..
      "  --server-name N  the name that the receiver's certificate must have\n" ..
      "  --insecure       take any certificate\n" ..
      "  --raw-bytes      leave line ends alone (else LF and CR LF become CR)\n" ..
      "  --whole          a file is one frame, whatever it holds\n" ..
      "  --show           print each reply in full\n" ..
      "  --json           one JSON document with counts and latency",
  },
  tls = {
    examples = { "lunate tls new-ca", "lunate tls new-cert hub.example.org 192.0.2.10",
      "lunate tls check lab.example.org:6661 --ca tls/ca.pem" },
    about = "new-ca makes tls/ca.pem and tls/ca.key, new-cert a certificate of that CA for the\n" ..
      "names given. check does one handshake and says what the server shows and whether\n" ..
      "it verifies: status 1 when not, 3 when nothing listens there.",
  },
  listen = {
    examples = { "lunate listen 6662", "lunate listen 6662 --ack AE --out received",
      "lunate listen 6662 --delay 500 --count 10" },
    about = "Prints \"ready\" on stderr when it listens, a line per message, and a summary at\n" ..
      "the end (SIGINT, SIGTERM or --count).",
    usage = "lunate listen PORT      0 = any free port\n" ..
      "  --host H     address to listen on (127.0.0.1)\n" ..
      "  --ack CODE   AA (default), AE, AR or none\n" ..
      "  --delay MS   wait before each answer\n" ..
      "  --out DIR    keep each message as DIR/NNNNNN.hl7\n" ..
      "  --count N    end after N messages\n" ..
      "  --quiet      no line per message\n" ..
      "  --tls-cert F   encrypted, with this certificate\n" ..
      "  --tls-key F    and its key\n" ..
      "  --client-ca F  clients need a certificate of these authorities\n" ..
      "  --json       a JSON object per line",
  },
  fmt = {
    examples = { "lunate fmt samples/adt_a01.hl7", "lunate fmt --deep - < results.hl7",
      "lunate fmt --wire edited.hl7 > message.hl7" },
    about = "One field a line: number, name, value, what a code means. --lines and --wire\n" ..
      "change nothing but the line ends. docs/tools.md has more.",
  },
  diff = {
    examples = { "lunate diff before.hl7 after.hl7",
      "lunate diff a.hl7 b.hl7 --ignore MSH-7,MSH-10",
      "lunate diff expected.hl7 - --json < got.hl7" },
    about = "Moves are seen as moves. Several messages are paired by control id. Exit status 0\n" ..
      "when they are the same, 1 when they differ, 2 when a file cannot be read.",
  },
  json = {
    examples = { "lunate json results.hl7 | jq '.segments[] | select(.[0] == \"OBX\") | .[5]'",
      "lunate json in.hl7 | jq -c '.segments[1][5] = \"DOE\"' | lunate json --back",
      "lunate json --named results.hl7 | jq '.segments[1].patient_name'" },
    about = "A line per message, byte for byte there and back: row[5] is field 5. --named\n" ..
      "has the dictionary's names instead, for reading only. docs/json.md has the form.",
  },
  deid = {
    examples = { "openssl rand -hex 32 > deid.key",
      "lunate deid --key-file deid.key real.hl7 > samples/real.hl7",
      "lunate deid --key-env DEID_KEY --rules rules.lua --report json < real.hl7" },
    about = "Names, ids, phones, addresses become pseudonyms (the same key gives the same),\n" ..
      "dates are shifted per patient, free text and Z segments are taken out. A report of\n" ..
      "counts goes to stderr. docs/tools.md says what is done with which data type. Look at\n" ..
      "what comes out before you give it away.",
  },
  query = {
    examples = { "lunate query PID-5.1 PID-3 samples/adt_a01.hl7",
      "lunate query --rows --header MSH-10 'OBX[*]-3.1' 'OBX[*]-5' results.hl7",
      "lunate query MSH-10 --file --where 'OBX[*]-8=H' archive/*.hl7",
      "lunate query 'OBX[*]-5' --json < results.hl7" },
    about = "Words that read as paths are paths, the rest are files. \"\" is HL7's explicit null.",
  },
  validate = {
    examples = { "lunate validate samples/*.hl7", "lunate validate --summary feed.hl7",
      "lunate validate --profile adt --severity error < message.hl7",
      "lunate validate --json feed.hl7 | jq 'select(.valid | not).control_id'" },
    about = "Exit status 1 when a message has errors. Lengths, user tables and what a later\n" ..
      "version may have added are info, and not shown without --severity info. A profile\n" ..
      "is lib/NAME.lua of the site: return hl7.profile { ... } (docs/validation.md).",
  },
  profile = {
    examples = { "lunate profile feed/*.hl7", "lunate profile -c adt_in --last 10000",
      "lunate profile --html feed.hl7 > feed.html" },
    about = "Message types, segments, how often each field is filled, lengths, repetitions,\n" ..
      "codes, forms of dates, shapes of identifiers, and what is wrong by the standard.\n" ..
      "Names, identifiers, addresses and texts are counted and measured, never shown.",
  },
  lua = {
    examples = { "lunate lua convert.lua in.hl7" },
    about = "Runs the file with hl7, json and the rest of a script's globals, plus arg, io and os.",
    usage = "lunate [-C SITE] lua FILE [ARG...]",
  },
  completion = {
    examples = { "lunate completion bash > ~/.local/share/bash-completion/completions/lunate",
      "lunate completion zsh > ~/.zfunc/_lunate",
      "lunate completion fish > ~/.config/fish/completions/lunate.fish" },
    about = "Verbs, options, channels of the site. `make install` puts the scripts in place.",
  },
  version = { examples = { "lunate version" } },
  help = { examples = { "lunate help send" } },
}
