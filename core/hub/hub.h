/* The hub: receives, keeps, hands to workers, delivers. One loop thread; no Lua.
 *
 * Glossary: an *entry* is a message on its way through a channel's script; a *due* is an output on
 * its way out of a destination's queue; a *reply* is what a sender is owed. Entries and items are
 * held in memory up to a bound; beyond it a channel or destination is *behind* and reads on from
 * the store, which has everything. Each file of this folder owns one of the structs below. */
#ifndef LN_HUB_HUB_H
#define LN_HUB_HUB_H

#ifndef LN_CDEF
#include <event2/dns.h>
#include <event2/event.h>
#include <event2/event_struct.h>
#include <sys/queue.h>
#include <sys/types.h>

#include "audit/access.h"
#include "base/log.h"
#include "hl7/ack.h"
#include "hl7/mllp.h"
#include "hub/blob.h"
#include "hub/conf.h"
#include "hub/spread.h"
#include "net/dial.h"
#include "net/listen.h"
#include "net/stream.h"
#include "store/store.h"

struct ln_hub;
struct ln_channel;

/* ---- source.c: listeners, connections, replies --------------------------------------------------
 */

struct ln_reply_part {
    char *header; /* copy of the message's header segment */
    size_t header_len;
    enum ln_ack_code code;
    char text[160];
    char *errors; /* NULL, or lines for ln_ack_errors_read: they become ERR segments */
};

/* What one frame's sender is owed: one acknowledgement, or a batch of them. */
struct ln_owed {
    TAILQ_ENTRY(ln_owed) link;
    struct ln_conn *conn; /* NULL: the connection is gone, nobody waits */
    int64_t from_us; /* when its last bytes came (monotonic) */
    unsigned total, pending;
    bool batch, file;
    bool later; /* it waits for script or delivery: as `ack` was when its message came */
    bool enhanced; /* its answers are those that MSH-15 and MSH-16 want: likewise */
    /* Enhanced mode, for single messages: an accept acknowledgement that is owed before this one,
     * due when the message is stored; NULL when there is none, or once it is settled. */
    struct ln_owed *accept;
    bool is_accept, silent; /* it is such a one; nothing is to be sent */
    struct ln_reply_part own; /* batch: the header of the batch */
    struct ln_reply_part part[];
};

struct ln_source;
/* Opens the listener that conf asks for. */
int ln_source_open(struct ln_channel *c, const struct ln_conf_channel *conf, struct ln_source **out,
                   struct ln_err *err) LN_MUST;
/* Closes listener and connections, frees s. keep_replies: connections that are owed a reply stay
 * until they have it. s may be NULL. */
void ln_source_close(struct ln_source *s, bool keep_replies);
/* True when s listens where conf says. */
bool ln_source_is(const struct ln_source *s, const struct ln_conf_channel *conf);
/* Connections to come use the certificates of conf; those that are open keep theirs. */
void ln_source_renew(struct ln_source *s, const struct ln_conf_channel *conf);
/* Gives its port back, keeping the connections; s may be NULL. */
void ln_source_mute(struct ln_source *s);
/* Takes it again, when it was muted. */
int ln_source_unmute(struct ln_source *s, struct ln_err *err) LN_MUST;
/* No new connection and no new message; connections stay until they have what they are owed. s may
 * be NULL. */
void ln_source_quiet(struct ln_source *s);
unsigned ln_source_connections(const struct ln_channel *c);
/* What its listener shows of itself; NULL: in clear. */
const struct ln_tls *ln_source_tls(const struct ln_channel *c);
void ln_source_tick(struct ln_hub *h, int64_t mono_us);
void ln_source_status(struct ln_channel *c, struct ln_buf *json);
/* The message is stored: what is owed for that alone is settled. */
void ln_owed_stored(struct ln_owed *o);
/* One part of a reply is settled; text may be NULL. */
void ln_owed_settle(struct ln_owed *o, unsigned part, enum ln_ack_code code, const char *text);
/* Reads on where reading was stopped because the store was behind. */
void ln_source_relieve(struct ln_hub *h);

/* ---- work.c: entries through the script ------------------------------------------------------ */

struct ln_out { /* an output of an entry, kept until its result is committed */
    struct ln_dest *dest;
    uint32_t n;
    struct ln_blob *bytes;
};

struct ln_entry {
    uint64_t seq;
    int64_t time_us;
    uint8_t kind; /* enum ln_receipt_kind */
    struct ln_blob *raw;
    unsigned nout;
    struct ln_out *out;
    enum ln_ack_code code; /* what ack = "transform" is answered */
    char text[160];
    char *errors; /* as in ln_reply_part */
};

struct ln_waiter { /* ack = "transform" | "delivery" */
    uint64_t seq;
    struct ln_owed *owed;
    unsigned part, remaining;
    struct ln_awaited { /* outputs without an end; `remaining` of them */
        uint16_t dest;
        uint32_t n;
    } * awaited;
    enum ln_ack_code code;
    char text[160];
    char *errors; /* as in ln_reply_part */
    bool processed;
};

/* Ring: [0, answered) results being committed, [answered, given) with the worker, [given, count)
 * wait */
struct ln_work {
    struct ln_entry *ring;
    size_t cap, head, count, answered, given;
    size_t waiting_bytes, given_bytes;
    size_t appending; /* received, on their way to the disk */
    uint64_t committed_end; /* all messages before this one are committed and known here */
    uint64_t read_next; /* behind: where to read on */
    uint64_t unreadable_seq; /* what the store cannot give, and that was said; 0: nothing */
    bool behind;
    bool careful; /* one at a time until careful_end is answered: a worker died with several in
                     flight */
    uint64_t careful_end;
    uint32_t attempts; /* failed tries of the entry at `answered` */
    struct ln_waiter *waiter; /* [waiter_first, nwaiter) in order of seq */
    size_t waiter_first, nwaiter, waiter_cap;
};

/* A message was committed to c's log (raw is borrowed). */
void ln_work_add(struct ln_channel *c, uint64_t seq, int64_t time_us, uint8_t kind,
                 struct ln_blob *raw, struct ln_owed *owed, unsigned part);
void ln_work_pump(struct ln_channel *c);
/* A result came from the worker. LN_EPARSE: it is not one that was due. */
int ln_work_result(struct ln_channel *c, const struct ln_result *r) LN_MUST;
/* The worker is gone; nothing it had comes back. why: for the record; blame_head: the entry at the
 * head is known to be the culprit. */
void ln_work_lost(struct ln_channel *c, const char *why, bool blame_head);
/* An output of d has its end. */
void ln_waiter_dest_done(struct ln_dest *d, struct ln_pos pos, bool sent, const char *text);
/* Passes over the message that the store cannot give, with a reason; *seq is its number.
 * LN_ENOTFOUND: there is none at the head. */
int ln_work_skip(struct ln_channel *c, const char *reason, uint64_t *seq) LN_MUST;
bool ln_work_idle(const struct ln_channel *c);
/* Takes up where the store says; at start and when a channel is opened. */
int ln_work_open(struct ln_channel *c) LN_MUST;
/* What a receipt says of its message, from the header; type is room for that. */
void ln_receipt_fill(struct ln_receipt *r, const struct ln_header *h, char *type, size_t cap);
/* What a sender is told whose message could not be kept. */
const char *ln_work_refusal(struct ln_hub *h);
/* Appends a message and sees it into its channel's work once committed. May be called between
 * ln_store_begin and end. */
int ln_work_append(struct ln_channel *c, const struct ln_receipt *r, bool must,
                   struct ln_owed *owed, unsigned part, uint64_t *seq) LN_MUST;

/* ---- duplicate.c ----------------------------------------------------------------------------- */

struct ln_recent_entry {
    uint64_t key, content, seq;
};

struct ln_recent { /* appended and not known to be committed, in order */
    struct ln_recent_entry *entry;
    size_t count, cap;
};

enum ln_duplicate { LN_DUPLICATE_NO, LN_DUPLICATE_SAME, LN_DUPLICATE_OTHER /* content */ };
/* Whether c has had this sender's control id within its window; *origin: which message that was. */
enum ln_duplicate ln_duplicate_look(struct ln_channel *c, const struct ln_header *h,
                                    struct ln_span raw, int64_t now_us, uint64_t *origin);
void ln_duplicate_remember(struct ln_channel *c, const struct ln_header *h, struct ln_span raw,
                           uint64_t seq);
/* When its turn is: LN_OK, it is one of *origin, which has had its effect; LN_ENOTFOUND: it is to
 * be processed. */
int ln_duplicate_of(struct ln_channel *c, uint64_t seq, struct ln_span raw,
                    uint64_t *origin) LN_MUST;

/* ---- worker.c: the process ---------------------------------------------------------------------
 */

enum ln_worker_state {
    LN_W_NONE,
    LN_W_QUEUED, /* its turn to start is still to come */
    LN_W_STARTING,
    LN_W_READY,
    LN_W_WAITING, /* back-off */
};

struct ln_worker {
    enum ln_worker_state state;
    pid_t pid; /* 0: there is none, or it is not known yet */
    uint64_t number; /* of all that were started: this one and no other; 0: none */
    struct ln_stream stream;
    struct ln_buf in;
    struct event timer; /* deadline of the head, or back-off */
    int64_t head_since_us; /* when the message at the head was given or came up */
    bool reading; /* a table is being read for it: it has LN_READING_S more */
    int64_t spawned_us;
    double backoff_s;
    uint64_t restarts;
    bool dirty; /* in the hub's list of workers to flush */
    bool has_place; /* of those that may start at a time */
    bool told; /* it said HELLO: once */
    unsigned lines; /* LOG records since its last result */
    bool telling; /* it is being given its files */
    unsigned file; /* which one is next, */
    size_t file_at; /* and from where in it */
    TAILQ_ENTRY(ln_worker) queue; /* of the hub's, while LN_W_QUEUED */
    struct ln_worker *next_dirty;
    struct ln_channel *channel;
    struct ln_reach *reach; /* connects for it; NULL: the channel has no allow.net */
    char failure[400]; /* why the script did not load */
};

void ln_worker_init_hub(struct ln_hub *h);
void ln_worker_init(struct ln_channel *c);
/* Starts it, or puts it to those whose turn comes when others have started. */
void ln_worker_start(struct ln_channel *c);
/* Whether one would start now. */
bool ln_worker_room(const struct ln_hub *h);
/* Ends it; entries it had are given again to the next. */
void ln_worker_stop(struct ln_channel *c);
void ln_worker_give(struct ln_channel *c, const struct ln_entry *e);
/* The head changed: its deadline counts from now. */
void ln_worker_head(struct ln_channel *c);
/* The script could not go on (soft limit): the worker is ended and started again with back-off. */
void ln_worker_restart(struct ln_channel *c, const char *why);
void ln_worker_flush_all(struct ln_hub *h);
/* worker_files.c. The descriptors of what it maps, behind its sockets (3, and 4 for connections
 * where it has a grant); how many (fd has room for LN_SPAWN_FDS of them). */
#define LN_WORKER_LENT 5
int ln_worker_lend(const struct ln_conf_channel *conf, int *fd);
/* What it is to be: the rest follows with ln_worker_tell_more, as long as it is `telling`. */
int ln_worker_tell(struct ln_channel *c) LN_MUST;
int ln_worker_tell_more(struct ln_channel *c) LN_MUST;

/* ---- dest.c: delivery ------------------------------------------------------------------------ */

struct ln_due {
    struct ln_pos pos;
    int64_t received_us;
    struct ln_blob *bytes;
};

enum ln_step_end { LN_STEP_SENT, LN_STEP_PARKED, LN_STEP_FAILED };

struct ln_dest {
    LIST_ENTRY(ln_dest) link;
    struct ln_channel *channel;
    struct ln_conf_dest conf;
    uint16_t id;
    bool configured; /* false: taken out of the script; its queue is kept */
    bool held, step;
    bool moving; /* its cursor is on its way to another place */
    bool redo; /* what comes may have had an outcome before: that is noted with the message */
    uint64_t skip_to, skipped; /* what stands before this message is set aside; how many were */
    char skip_reason[300];
    enum ln_step_end step_end; /* of the last step: what came of it, why, of which message */
    char step_text[200];
    uint64_t step_seq;
    struct ln_due *ring;
    size_t cap, head, count, bytes;
    bool behind;
    struct ln_pos read_pos;
    struct ln_tls *tls; /* NULL: in clear */
    int64_t peer_not_after; /* of the receiver's certificate, seconds since 1970; 0: unknown */
    struct ln_stream stream;
    bool connected, inflight;
    bool leaving; /* taken out, or moved: closed when what is in flight has its end */
    bool greeting; /* connected, but the TLS handshake is not done */
    bool used; /* this connection has carried a reply */
    bool answered; /* bytes came since the message was sent */
    char odd[160]; /* what was wrong with a reply to this try that was passed over; "": none was */
    struct ln_mllp mllp;
    struct ln_dial *dial;
    struct event timer; /* reply deadline or retry */
    bool retrying;
    int64_t deadline_us;
    char *control_id; /* MSH-10 of what is in flight */
    size_t control_id_len;
    char *former_id; /* of the message before; answered when `used` */
    size_t former_id_len;
    bool unasked; /* what is in flight asks for no answer when it is accepted (MSH-15, MSH-16) */
    bool never; /* nor when it is not */
    bool silent; /* one like that had no answer on this connection, so that a late one may come */
    double patience_s; /* how long an answer is waited for before that counts */
    uint32_t tries; /* of the head, sent */
    uint32_t parks; /* refused in a row */
    uint64_t ended_seq; /* the last message that had an end */
    uint32_t failures; /* in a row, for the back-off */
    enum ln_try try_class; /* of the last one, and how many of it in a row */
    uint32_t class_failures;
    int64_t first_us;
    uint64_t retries;
    int64_t retry_since_us, last_sent_us;
    struct ln_spread delivered_us; /* from receipt */
    unsigned uncommitted;
    char last_error[400];
    struct ln_pos unreadable; /* what the store cannot give, and that was said; seq 0: nothing */
    bool passing; /* ln_dest_pass_on is at it */
    struct ln_buf frame;
};

struct ln_dest *ln_dest_open(struct ln_channel *c, const struct ln_conf_dest *conf);
void ln_dest_set(struct ln_dest *d, const struct ln_conf_dest *conf);
/* Disconnects; what was in flight is sent again later. */
void ln_dest_close(struct ln_dest *d);
/* The same once the receiver has answered what it was sent: cut off, it would get that twice. */
void ln_dest_leave(struct ln_dest *d);
void ln_dest_add(struct ln_dest *d, struct ln_pos pos, struct ln_blob *bytes, int64_t received_us);
void ln_dest_pump(struct ln_dest *d);
void ln_dest_hold(struct ln_dest *d, bool held);
/* Held: one try of the head; step becomes false with its end. LN_ENOTFOUND: nothing is queued,
 * LN_EBUSY: not now. */
int ln_dest_step(struct ln_dest *d) LN_MUST;
/* Parks the head by hand; *seq is its message. One that cannot be read is passed over.
 * LN_ENOTFOUND: nothing is queued, LN_EBUSY: not now. */
int ln_dest_skip(struct ln_dest *d, const char *reason, uint64_t *seq) LN_MUST;
/* Held, nothing on its way: passes over what is queued before message seq, each with the reason;
 * d->skip_to becomes 0 when that is done. LN_EBUSY: not now. */
int ln_dest_skip_to(struct ln_dest *d, uint64_t seq, const char *reason) LN_MUST;
/* Held, nothing on its way: LN_OK; the queue stands still until ln_dest_moved. */
int ln_dest_move(struct ln_dest *d) LN_MUST;
/* Reads on from pos, when ok; as before otherwise. */
void ln_dest_moved(struct ln_dest *d, bool ok, struct ln_pos pos);
/* ---- recall.c: when the last one came in, and went out, before this start */
void ln_recall_channel(struct ln_channel *c, uint64_t next_seq);
void ln_recall_dest(struct ln_dest *d);
/* The head of the queue, readable or not; seq 0 = none. */
struct ln_pos ln_dest_head(struct ln_dest *d);
bool ln_dest_idle(const struct ln_dest *d);
const char *ln_dest_state(const struct ln_dest *d);

/* ---- channel.c: one channel, its state and its changes ------------------------------------------
 */

struct ln_channel {
    LIST_ENTRY(ln_channel) link;
    struct ln_hub *hub;
    uint32_t id;
    char name[LN_CONF_NAME];
    struct ln_conf_channel *conf;
    struct ln_conf_channel *next; /* reload: takes over at the next message boundary */
    struct ln_conf_channel *prev; /* reload: goes on when the new one's script does not start */
    struct ln_source *source;
    struct ln_work work;
    struct ln_recent recent;
    uint64_t duplicates, reused_ids; /* since the start */
    struct ln_worker worker;
    LIST_HEAD(, ln_dest) dests;
    struct ln_dest **by_index; /* destinations as the worker numbers them */
    uint8_t mode; /* enum ln_mode: what the operator wants */
    bool removed; /* no longer in the site */
    bool archiving; /* its messages go to an archive before they are trimmed */
    char error[400]; /* why it does not run, or what went wrong at the last reload */
    bool failed; /* has no usable configuration */
    enum ln_halt { LN_HALT_NONE, LN_HALT_STOP, LN_HALT_DRAIN } halt; /* on its way to stopped */
    int64_t halt_until_us;
    struct event halt_timer;
    bool halt_kept; /* stopped, and that is on disk */
    char halt_cut[300]; /* what the end of the grace period cut off */
    bool reverted; /* the last reload was taken back */
    uint64_t version_kept; /* of the configuration that the store was last told of */
    unsigned pinning; /* rollbacks, or ends of them, on their way to the disk */
    bool version_all; /* it was given the content of all its files */
    int64_t version_again_us, version_wait_us; /* it could not be kept: monotonic, 0 = it could */
    bool deaf; /* its listener cannot be opened: tried again and again, all else goes on */
    char deaf_why[300];
    int64_t deaf_until_us; /* monotonic: when to try again */
    unsigned deaf_tries;
    bool looking_up; /* its host's name, in a thread */
    int64_t last_in_us;
    struct ln_spread acked_us, script_us; /* receipt to reply; time in the script */
};

/* Creates or changes channels after a load; errors go to the log, and to *report as text lines. */
void ln_channel_apply(struct ln_hub *h, struct ln_conf *conf, const char *only,
                      struct ln_buf *report);
struct ln_channel *ln_channel_find(struct ln_hub *h, const char *name);
struct ln_dest *ln_channel_dest(struct ln_channel *c, const char *name);
int ln_channel_set_mode(struct ln_channel *c, uint8_t mode, struct ln_err *err) LN_MUST;
/* ---- halt.c: stops c: what is in hand is ended within grace_s, or (drain) all that it has. */
int ln_channel_halt(struct ln_channel *c, bool drain, double grace_s, struct ln_err *err) LN_MUST;
void ln_channel_halt_off(struct ln_channel *c);
/* Called at each message boundary while a reload is due. */
void ln_channel_switch(struct ln_channel *c);
void ln_channel_revert(struct ln_channel *c, const char *why);
/* Opens listeners again that could not be opened; how many channels are still without. */
unsigned ln_channel_listen_again(struct ln_hub *h, int64_t mono_us);
/* Ends listener, worker and deliveries; what is queued stays in the store. */
void ln_channel_shut(struct ln_channel *c, bool keep_replies);
const char *ln_channel_state_name(const struct ln_channel *c);
/* ---- waits.c: what stands between c and its script, in words; false: nothing does. */
bool ln_channel_waits(const struct ln_channel *c, char *text, size_t cap);

/* ---- load.c: the loader child -------------------------------------------------------------------
 */

typedef void ln_load_fn(void *arg, struct ln_conf *conf, const char *error); /* owns conf */
/* Channels with a pin are evaluated from that; `only`, when not NULL, from `instead`, or from disk
 * when that is NULL. */
int ln_load_start(struct ln_hub *h, const char *only, struct ln_pin *instead, ln_load_fn *fn,
                  void *arg, struct ln_err *err) LN_MUST;

/* ---- reload.c, plan.c, specs.c, watch.c ------------------------------------------------------ */

/* report: lines "CHANNEL: what"; "" with an error. */
typedef void ln_reload_done(void *arg, const char *error, const char *report);
/* Loads the site and applies it, or (plan) tells what that would change; only: one channel, or
 * NULL. LN_EBUSY: a reload is under way, or the engine stops. */
int ln_reload_start(struct ln_hub *h, const char *only, bool plan, ln_reload_done *done, void *arg,
                    struct ln_err *err) LN_MUST;
/* The same for the one channel that p is of, which is evaluated from p's files; no specs are run.
 */
int ln_reload_pin(struct ln_hub *h, struct ln_pin *p, ln_reload_done *done, void *arg,
                  struct ln_err *err) LN_MUST;

/* ---- git.c: the site's checkout -------------------------------------------------------------- */

/* Asks git what the checkout is; ln_version_git_known is called when it has answered. */
void ln_git_ask(struct ln_hub *h);
/* A load has read this from disk; NULL: nothing. */
void ln_git_read(struct ln_hub *h, const struct ln_conf *conf);
/* The commit of what the last load has read from disk, and whether one of the channel's files
 * differs from it; false: not known (yet), or the channel's is another version. */
bool ln_git_of(const struct ln_hub *h, const struct ln_conf_channel *ch, char *commit, size_t cap,
               bool *dirty);
void ln_git_exited(struct ln_hub *h, pid_t pid, int status);
void ln_git_stop(struct ln_hub *h);
void ln_version_git_known(struct ln_hub *h); /* version.c */
/* Which settings of the site file differ, as a line; nothing when none does. */
void ln_plan_told(const struct ln_blob *before, const struct ln_blob *after, struct ln_buf *out);
/* How many channels would change (the site file counts as one); lines go to out. */
unsigned ln_plan_site(struct ln_hub *h, struct ln_conf *conf, const char *only, struct ln_buf *out);

typedef void ln_specs_done(void *arg, const char *error); /* NULL: they pass */
bool ln_specs_there(const struct ln_hub *h); /* the site has spec/..._spec.lua */
int ln_specs_start(struct ln_hub *h, ln_specs_done *done, void *arg, struct ln_err *err) LN_MUST;
void ln_specs_exited(struct ln_hub *h, pid_t pid, int status); /* any child's end */
void ln_specs_stop(struct ln_hub *h);

void ln_watch_set(struct ln_hub *h, bool on);
/* A file of the site was written to since then, as far as the watcher sees; false when it is off.
 */
bool ln_watch_touched(struct ln_hub *h, int64_t since_us);

/* ---- control.c, status.c --------------------------------------------------------------------- */

int ln_control_open(struct ln_hub *h, struct ln_err *err) LN_MUST;
void ln_control_close(struct ln_hub *h);
/* Opens or closes the socket for others, as h->access says. */
void ln_control_outside(struct ln_hub *h);
void ln_status_json(struct ln_hub *h, struct ln_buf *out);
/* "tls": our own certificate (NULL: null) and when the peer's ends (0: not known). */
void ln_status_tls(struct ln_buf *b, const struct ln_tls *own, int64_t peer_not_after);
const struct ln_dest_state *ln_status_dest(const struct ln_channel_state *cs, uint16_t id);
/* How long the head of the queue has waited since its message came in. */
double ln_dest_oldest_s(const struct ln_dest *d);

/* ---- metrics.c, admin.c ---------------------------------------------------------------------- */

enum ln_metrics_format { LN_METRICS_PROMETHEUS /* text 0.0.4 */, LN_METRICS_OPEN /* 1.0.0 */ };

void ln_metrics(struct ln_hub *h, enum ln_metrics_format format, struct ln_buf *out);
/* The store has committed something: its time and size are counted. */
void ln_metrics_commit(struct ln_hub *h);
/* Opens, moves or closes the admin address. On failure it stays where it was; LN_ETLS: its
 * certificate cannot be used, which is no reason not to run. */
int ln_admin_apply(struct ln_hub *h, struct ln_conf *conf, struct ln_err *err) LN_MUST;
void ln_admin_close(struct ln_hub *h);
void ln_admin_status(const struct ln_hub *h, struct ln_buf *b);

struct ln_admin_numbers {
    bool tls;
    int64_t not_after; /* of its certificate, seconds since 1970 */
    uint64_t denied, tls_failed;
};

/* False: there is no admin address. */
bool ln_admin_numbers(const struct ln_hub *h, struct ln_admin_numbers *out);

/* ---- hub.c ----------------------------------------------------------------------------------- */

struct ln_hub {
    struct event_base *base;
    struct evdns_base *dns;
    const char *site; /* absolute path */
    char *data; /* absolute path of the store */
    char key_id[20]; /* that was taken into use while it runs; "": as at the start */
    char *key_file, *key_command; /* where its key comes from, as lunate.lua says now */
    struct ln_store *store;
    struct ln_reader *reader;
    LIST_HEAD(, ln_channel) channels;
    LIST_HEAD(, ln_source) sources;
    struct ln_worker *dirty;
    TAILQ_HEAD(, ln_worker) to_start;
    uint64_t workers; /* that were started */
    unsigned starting, starting_max; /* workers that read their scripts; how many may */
    struct event starter;
    struct ln_listener *control; /* NULL: not ours (yet) */
    struct ln_listener *outside; /* control socket for others than the owner; NULL: none */
    char *outside_dir;
    struct ln_hub_audit *audit; /* audit.c */
    struct ln_access access;
    struct ln_glass *glass; /* gate.c: those that are open */
    struct ln_token_seen *tokens; /* gate.c: those that were checked */
    struct ln_admin *admin; /* NULL: none */
    char admin_failure[300]; /* why it is not as lunate.lua wants it */
    struct ln_alerter *alerter; /* NULL: none */
    struct ln_archiver *archiver; /* NULL: none */
    struct ln_audit_send *audit_send; /* NULL: none */
    bool archive_stale; /* what the archiver is to do may have changed */
    struct ln_spread commit_us, commit_size;
    uint64_t commits_seen, commit_us_seen, operations_seen;
    struct ln_conf *first; /* the first load, about to be applied */
    struct ln_specs *specs; /* running, before a reload */
    struct ln_nursery *nursery; /* where workers come from; NULL: until one is to start */
    struct ln_git *git; /* NULL: the site is no checkout, as far as is known */
    struct ln_pins pins; /* channels that were rolled back */
    struct ln_watch *watch; /* NULL: off */
    struct ln_blob *site_settings; /* lunate.lua's, for plans */
    bool reload_tests;
    char reload_error[500]; /* why the last reload was refused as a whole */
    struct event store_ev, tick, sig[5];
    int64_t started_us, drain_until_us;
    bool announced; /* `ready` was printed: every listener is open */
    int64_t watchdog_us, watchdog_last_us; /* service manager's; 0: none */
    int64_t given_back_us; /* when free memory was last given back */
    bool ready, draining, finished, reading_stopped, loading, reload_again;
    int status;
    size_t frames_held; /* bytes of unfinished frames over all connections */
    uint64_t ack_counter, not_stored;
    int64_t not_stored_logged_us;
    char ack_prefix[16];
};

/* last.c: from now on the process has so many seconds to end, or it is ended, with status 1. */
void ln_last_resort(const struct ln_hub *h, unsigned seconds);
/* Applies a load: site settings, then the channels. */
void ln_hub_apply(struct ln_hub *h, struct ln_conf *conf, const char *only, struct ln_buf *report);
/* True when conf names another folder for the store: that takes a restart. */
bool ln_hub_data_moves(const struct ln_hub *h, const struct ln_conf *conf);
/* A reload, now or after the one under way. */
void ln_hub_reload(struct ln_hub *h);
/* A load has been applied: starts the reload that was asked for meanwhile. */
void ln_hub_loaded(struct ln_hub *h);
/* Runs the site in the foreground until SIGTERM; returns the exit status. */
int ln_hub_run(const char *site);
/* A control id of our own: unique over restarts, at most 20 characters. */
struct ln_span ln_hub_control_id(struct ln_hub *h, char *out, size_t cap);
#endif

#endif
