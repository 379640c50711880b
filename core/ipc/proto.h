/* What the processes say to each other. Payloads are listed field by field in wire order
 * (u8, u32, u64, f64, bytes as in ipc/wire.h). A version is exact: both ends are the same binary.
 *
 * worker: hub spawns `lunate worker` with the socket as descriptor 3.
 *   worker -> HELLO; hub -> [ALLOW,] MAPPED*, CHANNEL, FILE*, KV*, START;
 *   worker -> READY or FAILED;
 *   then hub -> MESSAGE*, worker -> RESULT* in the same order, LOG* in between.
 *   End of file on the socket means the hub is gone: the worker ends.
 * loader: hub spawns `lunate loader`; loader -> HELLO; hub -> START; loader -> SITE,
 *   then per channel BEGIN (its name, so that a hang can be blamed), FILE*, CHANNEL or ERROR;
 * SHARED files once; DONE. Nothing is sent that the loader could not read and check.
 *
 * alerter: hub spawns `lunate alerter`; alerter -> HELLO; hub -> START, SITE (the pairs that begin
 * with "alerts."; again when they change); then alerter -> ALERTS every 10 s, LOG;
 * hub -> ALERTS_ASK, alerter -> ALERTS_ANSWER.
 *
 * audit-send: as the alerter, with the pairs that begin with "audit."; then -> AUDIT_STATE, LOG.
 *
 * control: client -> REQUEST; hub -> REPLY (one, or several PARTs and then REPLY). */
#ifndef LN_IPC_PROTO_H
#define LN_IPC_PROTO_H

#define LN_PROTO_BUILD LN_VERSION "-14" /* goes up with every change to this file */

enum ln_proto {
    LN_P_HELLO = 1, /* bytes build */

    /* hub -> worker */
    LN_P_CHANNEL, /* bytes name, bytes site folder, bytes script path (relative, "channels/x.lua"),
                     f64 soft seconds, u32 memory_mb, u8 jit */
    LN_P_FILE, /* bytes path relative to the site, bytes content: the only files the script sees
                  through require and lookup */
    LN_P_KV, /* bytes key, bytes value: what kv holds at the start */
    LN_P_START, /* loader: bytes site folder, and perhaps channels that are evaluated from other
                   files than those on disk: u32 n, n x bytes content, u32 n, n x (bytes channel,
                   u32 files, files x (bytes path, u32 which content, from 0)); alerter: bytes
                   site folder, bytes folder of the store; worker: nothing */
    LN_P_MESSAGE, /* u64 seq, u64 receipt time us, bytes raw */

    /* worker -> hub */
    LN_P_READY, /* u32 n, n x bytes destination names in order: destination indexes below;
                     u8 enum ln_confinement bits */
    LN_P_FAILED, /* bytes text with file:line */
    LN_P_RESULT, /* see struct ln_result */
    LN_P_LOG, /* u64 seq (0 = none), u8 level (enum ln_level), bytes where ("file:line"),
                 bytes text: the text is content, it goes into the store, never into the log */

    /* loader -> hub */
    LN_P_SITE, /* pairs: bytes key, bytes value (see LN_P_SETTINGS) */
    LN_P_BEGIN, /* bytes channel name, bytes script path */
    LN_P_SETTINGS, /* bytes channel name, then pairs (bytes key, bytes value) up to the end; the
                      keys stand below. Values are text: numbers in decimal, booleans true/false,
                      lists with \n between. Every key that goes with the kind is there, defaults
                      filled in, each once */
    LN_P_ERROR, /* bytes channel name or "" for the site, bytes text with file:line */
    LN_P_SHARED, /* bytes path, bytes content: lib/ and tables/, the same for all channels */
    LN_P_DONE, /* nothing */
    LN_P_TLS, /* bytes channel name, bytes key ("source.tls.cert", "dest.NAME.tls.ca": cert, key, ca
                 or crl; "admin.tls.cert" and so on of no channel), bytes path, bytes content: after
                 the channel's SETTINGS; never to a worker */
    LN_P_WARNING, /* bytes channel name, bytes text with file:line, bytes "true" when `check` is to
                     count it as a mistake, "soon" when it will be one: a reload tells of
                     both; the channel is started all the same */

    /* control */
    LN_P_REQUEST, /* u32 n, n x bytes: verb and arguments */
    LN_P_PART, /* bytes JSON document of a list */
    LN_P_REPLY, /* u8 exit status, bytes text: JSON document, or one-line error when status != 0 */

    /* verbs that try scripts out -> worker; the hub never sends these */
    LN_P_WATCH, /* before START: u8 mode (enum ln_trace_mode); behind it: asks for a TRACE */
    LN_P_TRACE, /* worker's answer, also before the RESULT of a limit: per file bytes path, u32 n,
                   n x u32 line, u32 hits, u8 runs (the first three, the last), each bytes: notes of
                   u8 kind, bytes name, bytes value as text */
    LN_P_CONTEXT, /* control client -> hub, before a REQUEST: pairs bytes key, bytes value: reason,
                     token, break_glass ("true") */
    LN_P_CLOCK, /* u64 us: what scripts are told of the time from now on; 0 = the real one. */

    /* hub (or such a verb) -> worker, before CHANNEL, when the channel has `allow` */
    LN_P_ALLOW, /* u8 enum ln_allow_net, bytes CAs for TLS (PEM; empty: the system's), u32 n, n x
                   bytes path: what may be read beside the site; absolute, no links */

    /* worker -> verb that tries scripts out (LN_NET_HELD, LN_NET_FAKED); the hub takes none */
    LN_P_HTTP, /* bytes method, bytes URL, bytes headers (lines), bytes body */
    LN_P_HTTP_TOLD, /* the answer when LN_NET_FAKED: u32 status, bytes headers (lines), bytes body;
                       status 0: no answer, body says why */

    /* repl <-> the child that evaluates (core/role/repl.c). It begins as a worker does (HELLO;
       CHANNEL with an empty script path = none, FILE*, START; READY or FAILED) and takes MESSAGE,
       too */
    LN_P_ASK = 64, /* u32 n, n x bytes: what, and its arguments (lua/repl/inside.lua) */
    LN_P_ANSWER, /* u8 0 or 1 = failed, u32 n, n x bytes; follows each ASK */
    LN_P_PRINT, /* bytes text that a script printed, before the ANSWER or RESULT */
    LN_P_INTERRUPT, /* nothing: stop what you are at */

    /* hub <-> alerter */
    LN_P_ALERTS = 80, /* bytes why alerts do not reach people (or ""), u64 sent, u64 not sent,
                         u32 n, n x bytes rule, bytes subject, bytes text, bytes state,
                         u64 since us: all that is firing */
    LN_P_ALERTS_ASK, /* u64 id, u32 n, n x bytes: words of `lunate alerts` */
    LN_P_ALERTS_ANSWER, /* u64 id, u8 exit status, bytes text as in REPLY */

    /* hub <-> archiver: HELLO; START as for the alerter, SITE (channel name, "FOLDER\nDAYS\nMB",
       again when it changes; channel name "", "KEY_FILE\nKEY_COMMAND\nID": with encryption);
       then from the archiver */
    LN_P_ARCHIVED, /* bytes channel, u64 seq: all before it is in its files */
    LN_P_ARCHIVE_STATE, /* bytes why nothing can be archived (or ""), u64 messages, u64 bytes:
                           written since it started */

    /* audit-send -> hub (START and SITE as for the alerter, the pairs that begin with "audit.") */
    LN_P_AUDIT_STATE, /* bytes why the log does not arrive (or ""), u64 number of the last entry
                         that did, u64 number of the signed head, u64 us when the oldest that did
                         not was written (0: all did), u64 entries that did since it started */

    /* repl <-> line editor (core/repl) */
    LN_P_READ, /* repl -> editor: bytes prompt, bytes text to begin with */
    LN_P_LINE, /* editor -> repl: u8 enum ln_line, bytes text */
    LN_P_COMPLETE, /* editor -> repl: bytes line up to the cursor */
    LN_P_MATCHES, /* repl -> editor: u32 bytes of the line to be kept, bytes text that takes the
                     place of the rest, bytes list to be shown above the prompt */
    LN_P_REMEMBER, /* repl -> editor: bytes line for the history */
    LN_P_HISTORY, /* repl -> editor: bytes path of the file that keeps it */
    LN_P_NEWS, /* repl -> editor, after READ: bytes text that goes above the line being typed */

    /* hub -> worker */
    LN_P_MAPPED = 120, /* before CHANNEL: bytes path, u32 descriptor, u64 length: as FILE, but the
                          content, and a NUL behind it, is what the descriptor maps */

    /* worker -> hub */
    LN_P_READING, /* u64 seq: a table is being read for it, which may take LN_READING_S seconds */
};

#define LN_READING_S 60

enum ln_line {
    LN_LINE_TEXT = 0,
    LN_LINE_END, /* end of input */
    LN_LINE_INTERRUPTED, /* Ctrl-C */
    LN_LINE_PASTED, /* a message, pasted: as the terminal gave it */
};

/* clang-format off */
/* Keys of SITE, [default]:
 *   data ["data"]            relative to the site, or absolute
 *   reload_tests, watch      true|false [false]
 *   log.level                debug|info|warn|error [info]
 *   admin.host, .port, .allow (lines), .tls and .tls.* as for a source, when there is an admin
 *                            address
 *   alerts.*                 when there are alerts: lua/alerts/config.lua; for the alerter alone
 *   audit.syslog.host, .port, .tls and .tls.* as for a destination: for audit-send alone
 *   encryption.key_file, .key_command: where the store's key comes from; neither: not encrypted
 *   limits.*, retention.*    as below: already in the channels' settings
 * Keys of SETTINGS:
 *   script                   path, as in BEGIN
 *   ack                      commit|transform|delivery|none [commit]
 *   on_error                 park|stop [park]
 *   jit, filter, transform   true|false [false]; the latter two: the script has such a function
 *   limits.seconds           0.1 to 3600, may have a fraction [5]
 *   limits.memory_mb         8 to 16384 [128]
 *   limits.attempts          1 to 1000 [3]
 *   retention.days, .mb      0 = no limit [0]; days may have a fraction
 *   archive                  folder, relative to the site or absolute; empty: none [empty]
 *   allow.read               absolute paths of files and folders, links resolved [empty]
 *   allow.files              what tells a file of allow.read from another that takes its place
 *   allow.net                HOST:PORT as in net/grant.h [empty]; allow.ca: path, with allow.net
 *   source.kind              mllp|channel
 *    mllp: source.port 1 to 65535, .host [127.0.0.1], .idle_timeout seconds, 0 = none [0],
 *          .max_message bytes [52428800], .max_connections [1000],
 *          .allow addresses or nets "192.0.2.0/24", empty = all [empty],
 *          .charset as in hl7/charset.h [trust],
 *          .tls true|false [false] with .tls.cert, .key, .ca, .crl (paths), .client,
 *          .allow_subject, .min_version,
 *          .duplicates process|ack|flag [process], .duplicate_window seconds [86400]
 *    channel: source.from    channel names, at least one
 *   destinations             names, sorted by bytes, may be empty: their numbers on the wire
 *   dest.NAME.kind           mllp|channel
 *   dest.NAME.filter, .transform   true|false [false]
 *   dest.NAME.charset        empty, or a policy that forces one [empty]
 *    mllp:  .host, .port, .timeout seconds [10], .retry.first seconds [1], .retry.factor [2],
 *           .retry.max seconds [60], .retry.attempts 0 = for ever [0], .stop_after_parks [0],
 *           .retry.on.CLASS with connect, tls, timeout, closed, AE, AR, CE, CR: "" [as retry], or
 *           retry|park|stop and first, factor, max, attempts, "-" where it is as retry has it,
 *           .on_reply.AE [park] .AR [retry] .CE [as AE] .CR [as AR]: park|retry|stop
 *    channel: .to            channel name
 * An ERROR may follow a channel's SETTINGS (what only the site as a whole shows: ports taken twice,
 * links that lead nowhere): a channel with an ERROR is not to be started. A script that does not
 * load has a BEGIN, FILEs and ERRORs but no SETTINGS. SITE always comes, with defaults when
 * lunate.lua is wrong (an ERROR without a channel then says so). */
/* clang-format on */

#ifndef LN_CDEF
#include "ipc/wire.h"
#endif

/* What a script's HTTP request comes to. */
enum ln_allow_net {
    LN_NET_NONE, /* the channel has no allow.net */
    LN_NET_ASKED, /* the hub connects: descriptor 4 is a SOCK_SEQPACKET to it (core/hub/reach.c) */
    LN_NET_HELD, /* it is told, and not done */
    LN_NET_FAKED, /* whoever started the worker answers */
};

/* How a worker is confined; a bit that is missing means that the kernel does not have it. */
enum ln_confinement {
    LN_CONFINED_FILES = 1, /* Landlock: reads below the site (but not the store), writes nothing */
    LN_CONFINED_CALLS = 2, /* seccomp: none but the system calls that a script needs */
    LN_CONFINED_ALL = 3,
};

enum ln_verdict {
    LN_V_DONE = 1, /* transformed; outputs follow (possibly none) */
    LN_V_FILTERED, /* filter said no; reason */
    LN_V_ERROR, /* the script raised: reason (content!), where, trace. Not to be retried */
    LN_V_LIMIT, /* soft time limit or memory limit: the same, counts as an attempt; the worker
                   takes no further message and exits */
};

enum ln_output_kind {
    LN_O_BYTES = 1, /* bytes follow */
    LN_O_INPUT, /* the input, byte for byte */
    LN_O_SAME, /* the same bytes as output number `same` of this result */
    LN_O_FILTERED, /* the destination's filter said no; bytes = reason */
    LN_O_ERROR, /* the destination's filter or transform raised; bytes = reason (content!) */
};

#define LN_RESULT_OUTPUTS_MAX 100000u
#define LN_RESULT_KV_MAX      100000u
#define LN_LOG_LINES_MAX      1000u /* of one message, and one more that says so */

/* RESULT payload: u64 seq, u8 verdict, u32 duration_us, bytes reason, bytes where, bytes trace,
 * u32 noutputs, each: u16 dest, u8 kind, u32 same, bytes data;
 * u32 nkv, each: u8 deleted, bytes key, bytes value. */
struct ln_output {
    uint16_t dest;
    uint8_t kind;
    uint32_t same;
    struct ln_span data;
};

struct ln_kv {
    bool deleted;
    struct ln_span key, value;
};

struct ln_result {
    uint64_t seq;
    uint8_t verdict;
    uint32_t duration_us;
    struct ln_span reason, where, trace;
    uint32_t noutputs, nkv;
    struct ln_output *outputs; /* borrowed */
    struct ln_kv *kv;
};

/* Appends a RESULT record. */
int ln_result_write(struct ln_buf *b, const struct ln_result *r) LN_MUST;

/* Reads a RESULT payload; arrays are allocated and freed with ln_result_fini, spans borrow from the
 * input. LN_EPARSE on anything that does not add up: unknown verdict or kind, `same` that does not
 * point to an earlier BYTES output, more entries than bytes could hold, destinations >= ndest. */
int ln_result_read(struct ln_wire_in *in, unsigned ndest, struct ln_result *r) LN_MUST;
void ln_result_fini(struct ln_result *r);

#endif
