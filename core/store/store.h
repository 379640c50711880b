/* The store: an append-only message log per channel, and cursors into it.
 *
 * Promise: when an operation's `done` is called with LN_OK, the transaction that holds it has been
 * synced. Operations gather in a batch while the committer thread syncs the one before; each batch
 * is one transaction (group commit: no timer, nothing to tune). Operations between ln_store_begin
 * and ln_store_end are always in the same transaction.
 *
 * Threads: everything here is called from one thread (the hub's loop); `done` is called on that
 * thread, from ln_store_dispatch. The committer thread is the store's own. Readers (reader.h part
 * below) may also live in another process, which opens the store read-only.
 *
 * LMDB stands behind this interface (store/lmdb_*.c); a replicated log can stand there later: no
 * LMDB type or notion shows here.
 *
 * Failure: when a batch cannot be committed (disk full, I/O error), appends from outside (must =
 * false) are told so by `done` and forgotten: the sender gets a negative acknowledgement. All other
 * operations stay, in order, and are tried again with the next batch until they are in: a result or
 * an outcome is never lost or overtaken. */
#ifndef LN_STORE_STORE_H
#define LN_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

struct ln_keys;
struct ln_reader;

#define LN_STORE_FORMAT        2u /* and what an encrypted one is: */
#define LN_STORE_FORMAT_SEALED 3u
#define LN_NAME_MAX            64u
#define LN_PATIENTS_MAX        8u

/* ---- records ------------------------------------------------------------------------------- */

enum ln_receipt_kind {
    LN_R_RECEIVED = 1, /* from a peer */
    LN_R_UNREADABLE, /* from a peer, not HL7: kept, answered AR, never given to a script */
    LN_R_FORWARDED, /* from channel origin_chan, message origin_seq */
    LN_R_RESENT, /* copy of an origin: its outputs go out again, no script runs */
    LN_R_REPROCESS, /* copy of an origin: runs through the script again */
    LN_R_DUPLICATE, /* from a peer: it has sent message origin_seq before, byte for byte */
};

struct ln_receipt {
    uint8_t kind;
    int64_t time_us;
    uint32_t origin_chan; /* 0 = none */
    uint64_t origin_seq;
    struct ln_span peer; /* "192.0.2.7:51234" or "" */
    struct ln_span control_id; /* MSH-10, raw */
    struct ln_span type; /* "ADT^A01" */
    struct ln_span only_dest; /* LN_R_RESENT: this destination alone; "" = all */
    unsigned npatient;
    struct ln_span patient[LN_PATIENTS_MAX]; /* PID-3.1 values, raw */
    struct ln_span raw; /* bytes as received */
    uint32_t chan; /* set by what reads */
    uint64_t seq;
};

/* Where an output stands in a destination's queue. */
struct ln_pos {
    uint64_t seq;
    uint32_t n; /* number of the output within the message's result, from 0 */
};

enum ln_done_state {
    LN_S_DONE = 1, /* transformed */
    LN_S_FILTERED,
    LN_S_PARKED, /* script error, limit or crash after all attempts */
    LN_S_REJECTED, /* unreadable */
};

enum ln_item_kind {
    LN_I_BYTES = 1, /* to be delivered: data */
    LN_I_INPUT, /* to be delivered: the raw message itself */
    LN_I_SAME, /* to be delivered: the data of output number `same` */
    LN_I_FILTERED, /* not for this destination; data = reason */
    LN_I_PARKED, /* this destination's script failed; data = reason */
    LN_I_FORWARDED, /* handed to channel to_chan as message to_seq in the same transaction */
};

struct ln_item {
    uint16_t dest; /* destination id, as ln_store_dest gave */
    uint8_t kind;
    uint32_t same;
    uint32_t to_chan;
    uint64_t to_seq;
    struct ln_span data;
};

struct ln_processed {
    uint8_t state; /* enum ln_done_state */
    int64_t time_us;
    uint32_t duration_us;
    uint32_t attempts; /* tries that failed before this */
    uint64_t script; /* script version: first 8 bytes of the hash, big-endian; 0 = none */
    char ack[3]; /* what the sender was answered at this point, "" = not at this point */
    struct ln_span reason, where, trace;
    uint32_t nitems;
    const struct ln_item *items;
    uint32_t nkv;
    const struct ln_kv_write *kv;
};

struct ln_kv_write {
    bool deleted;
    struct ln_span key, value; /* key at most 400 bytes (LN_ETOOBIG) */
};

enum ln_out_state {
    LN_OUT_SENT = 1, /* positively acknowledged */
    LN_OUT_PARKED, /* refused, or attempts used up */
    LN_OUT_SKIPPED, /* by an operator */
};

struct ln_outcome {
    uint8_t state; /* enum ln_out_state */
    uint32_t tries;
    int64_t first_us, time_us; /* first try, end */
    struct ln_span reply; /* acknowledgement as received */
    struct ln_span reason;
};

enum ln_event_kind {
    LN_EV_ATTEMPT = 1, /* the script was killed or gave up at this message; counts as an attempt */
    LN_EV_ACK, /* acknowledgement sent later than receipt; text = code */
    LN_EV_LOG, /* a script's log line; text = "level where: text" */
    LN_EV_OPERATOR, /* somebody did something to it; text = what, who, why */
    LN_EV_RETRY, /* a delivery try that failed; text = why, reply in brief */
    LN_EV_NOTE, /* something the engine noticed about it; text = what */
};

struct ln_event {
    uint8_t kind;
    int64_t time_us;
    uint16_t dest; /* 0 = the channel itself */
    struct ln_span text;
};

/* Numbers that survive restarts. `queued` outputs are those behind the destination's cursor. */
struct ln_dest_state {
    uint16_t id;
    char name[LN_NAME_MAX + 1];
    bool held;
    struct ln_pos cursor; /* first position not yet done */
    uint64_t queued, sent, parked, skipped, filtered;
};

struct ln_channel_state {
    uint32_t id;
    char name[LN_NAME_MAX + 1];
    uint64_t first_seq, next_seq; /* log holds [first_seq, next_seq), with gaps */
    uint64_t cursor; /* first message without a result */
    uint32_t attempts; /* failed tries of the message at the cursor */
    uint8_t mode; /* LN_MODE_*: what the operator wants */
    uint64_t received, filtered, processed, errors, parked,
        rejected; /* parked: now; others: ever. errors: those that a script failed at, whole or for
                     a destination; a message counts as one of processed, filtered, errors, rejected
                   */
    uint64_t bytes; /* of content kept */
    unsigned ndest;
    const struct ln_dest_state *dest; /* valid until the next call */
};

enum ln_mode { LN_MODE_RUN, LN_MODE_PAUSED, LN_MODE_STOPPED };

/* ---- writing ------------------------------------------------------------------------------- */

struct ln_store;

struct ln_store_options {
    const char *path; /* data folder; created with mode 0700 */
    uint64_t map_size; /* largest size of the file; 0 = 1 TiB sparse (or what the machine allows) */
    uint64_t reserve; /* free bytes on the disk under which appends are refused while results and
                         outcomes still go in; 0 = 1 % of the disk between 1 and 256 MiB */
};

typedef void ln_store_done(void *arg, int code, uint64_t seq);

/* Opens or creates. LN_EBUSY when another engine has it, LN_EVERSION when a newer one made it,
 * LN_EIO / LN_EFULL when the folder cannot be written; err says what to do. */
int ln_store_open(const struct ln_store_options *opt, struct ln_store **out,
                  struct ln_err *err) LN_MUST;
/* Commits what is queued (giving up after 10 s when it cannot be), then closes. `done` of all that
 * was queued is called before it returns: LN_ECLOSED for what was given up. */
void ln_store_close(struct ln_store *s);

int ln_store_fd(const struct ln_store *s); /* readable when ln_store_dispatch has something to do */
void ln_store_dispatch(struct ln_store *s); /* calls `done` of what has been synced, in order */

/* Ids for names, made when new (durable with the next commit). 0 = out of memory or name too long.
 * Ids start at 1 and are never used again for another name. */
uint32_t ln_store_channel(struct ln_store *s, const char *name);
uint16_t ln_store_dest(struct ln_store *s, uint32_t chan, const char *name);

void ln_store_begin(struct ln_store *s); /* does not nest */
void ln_store_end(struct ln_store *s);

/* Appends one message, sets *seq to its number. LN_EFULL at once while the disk is (nearly) full or
 * more than 64 MiB wait to be committed (must = false only). Copies everything. done may be NULL.
 */
int ln_store_append(struct ln_store *s, uint32_t chan, const struct ln_receipt *r, bool must,
                    ln_store_done *done, void *arg, uint64_t *seq) LN_MUST;
/* Result of the message at the channel's cursor: writes result, items, kv; moves the cursor to
 * seq + 1, clears attempts, counts. Destinations gain what is to be delivered. */
int ln_store_result(struct ln_store *s, uint32_t chan, uint64_t seq, const struct ln_processed *p,
                    ln_store_done *done, void *arg) LN_MUST;
/* Outcome of one output; moves the destination's cursor behind it. LN_OUT_SKIPPED also passes over
 * a message whose result cannot be read: the cursor then moves behind the message, and the queue is
 * counted anew. */
int ln_store_outcome(struct ln_store *s, uint32_t chan, uint16_t dest, struct ln_pos pos,
                     const struct ln_outcome *o, ln_store_done *done, void *arg) LN_MUST;
/* Moves a destination's cursor back from where it stands, `from`, to `to`: the outputs in between,
 * of which there are so many, are queued again; their outcomes stay until new ones replace them.
 * done gets LN_EBUSY when the cursor is not (or no longer) at `from`, LN_ENOTFOUND when `to` is no
 * longer kept. */
int ln_store_move_back(struct ln_store *s, uint32_t chan, uint16_t dest, struct ln_pos from,
                       struct ln_pos to, uint64_t outputs, ln_store_done *done, void *arg) LN_MUST;
/* Adds an event to a message. LN_EV_ATTEMPT also counts up the channel's attempts. */
int ln_store_event(struct ln_store *s, uint32_t chan, uint64_t seq, const struct ln_event *e,
                   ln_store_done *done, void *arg) LN_MUST;
/* Takes a message (n = LN_WHOLE) or one of its outputs off the list of parked ones, because it was
 * resent or dealt with. LN_OK also when it is not parked. */
#define LN_WHOLE 0xffffffffu
int ln_store_unpark(struct ln_store *s, uint32_t chan, uint64_t seq, uint32_t n,
                    ln_store_done *done, void *arg) LN_MUST;
int ln_store_set_mode(struct ln_store *s, uint32_t chan, uint8_t mode, ln_store_done *done,
                      void *arg) LN_MUST;
int ln_store_set_held(struct ln_store *s, uint32_t chan, uint16_t dest, bool held,
                      ln_store_done *done, void *arg) LN_MUST;
/* Changes nothing: done is called when all that was queued before is on disk. */
int ln_store_fence(struct ln_store *s, ln_store_done *done, void *arg) LN_MUST;
/* Retention: what is done and older than max_age_s, or beyond max_bytes of the channel, is trimmed
 * in the background in small bites. 0 = no limit. Never trims what is not done, nor parked ones
 * younger than max_age_s. */
void ln_store_retain(struct ln_store *s, uint32_t chan, uint64_t max_age_s, uint64_t max_bytes);
/* Of a channel whose messages go to an archive first: nothing at or behind `below` is trimmed.
 * Called before ln_store_retain with 0, then with each step forward; UINT64_MAX: no archive. */
void ln_store_archived(struct ln_store *s, uint32_t chan, uint64_t below);

/* Bytes queued and not yet committed: the hub stops reading sockets over a limit. */
uint64_t ln_store_backlog(const struct ln_store *s);

/* Committed numbers, as of the last dispatch. */
int ln_store_channel_state(struct ln_store *s, uint32_t chan, struct ln_channel_state *out);

struct ln_store_stat {
    uint64_t bytes; /* file size in use */
    uint64_t messages; /* in the log now */
    uint64_t commits, commit_us_total, commit_us_max, operations;
    bool sealed; /* what is written is encrypted */
    bool failing; /* the last commit failed */
    bool full; /* appends are refused for lack of space */
    char failure[480]; /* why, and what to do, for a person */
};
void ln_store_stat(struct ln_store *s, struct ln_store_stat *out);

/* ---- keys ---------------------------------------------------------------------------------- */

/* The operator's keys (crypt/keys.h) with which this process opens stores from now on; takes them
 * over, NULL: none. An engine that has keys encrypts all that it writes, also in a store that was
 * in clear so far, where what is older stays readable; without the right ones an encrypted store is
 * not opened (LN_EKEY). */
void ln_store_keys(struct ln_keys *keys);
/* The same, to be unref'd; NULL: none. */
struct ln_keys *ln_store_keys_ref(void);
/* Rewrites the store at `path`, which no engine may have, under a new data key of this process's
 * keys: what was in clear is then encrypted. The old file is replaced when the new one is whole and
 * checked. *messages: how many there were. */
int ln_store_encrypt(const char *path, void (*progress)(void *arg, uint64_t done, uint64_t of),
                     void *arg, uint64_t *messages, struct ln_err *err) LN_MUST;

struct ln_key_state {
    bool sealed; /* the store is encrypted */
    unsigned generations; /* data keys there are, but for the one that hashes ids */
    unsigned other; /* data keys that are wrapped with another key than the newest is */
    char key[17]; /* id of the key that the newest is wrapped with */
    uint64_t messages, clear; /* kept; of these in clear, from before it was encrypted */
};
int ln_read_key_state(struct ln_reader *r, struct ln_key_state *out) LN_MUST;

/* Takes other keys while the engine runs: all data keys are wrapped with the first of them, and a
 * new data key is used from now on. Takes `keys` over. */
int ln_store_rekey(struct ln_store *s, struct ln_keys *keys, ln_store_done *done,
                   void *arg) LN_MUST;

/* Consistent copy into DIR (created; must be empty), while running. Blocks; call it from a process
 * of its own with a reader. */
int ln_store_backup(const char *path, const char *dir, struct ln_err *err) LN_MUST;
/* Puts such a copy into data folder `path`, which no engine may have (LN_EBUSY). LN_EEXIST when
 * there is a store, unless force: then that is kept beside it, under a name that `aside` (of cap
 * bytes) tells; "" = there was none. */
int ln_store_restore(const char *dir, const char *path, bool force, char *aside, size_t cap,
                     struct ln_err *err) LN_MUST;

/* ---- checking ------------------------------------------------------------------------------ */

struct ln_verify {
    uint64_t channels, messages, records, bytes; /* looked at */
    uint64_t problems; /* found */
    uint64_t sealed; /* messages that are encrypted */
    bool blind; /* there was no key: only sums were looked at, not what they stand around */
    unsigned unchecked; /* channels whose counts could not be compared: an engine wrote meanwhile */
};

struct ln_verify_ops {
    /* What is wrong; channel "" and seq 0 where it is no channel's or no message's. */
    void (*found)(void *arg, const char *channel, uint64_t seq, const char *what);
    void (*progress)(void *arg, uint64_t done, uint64_t of); /* may be NULL */
};

/* Looks at everything in the store at `path`, whether an engine runs or not, in short transactions.
 * Without a key of an encrypted store its sums are checked, and what is not encrypted; with it,
 * all. LN_OK: it could be looked at, out->problems says how it is. A file that is cut off or whose
 * pages lead astray can end the process with a signal: call it in a child. */
int ln_store_verify(const char *path, const struct ln_verify_ops *ops, void *arg,
                    struct ln_verify *out, struct ln_err *err) LN_MUST;

/* ---- reading ------------------------------------------------------------------------------- */

struct ln_reader;

/* A reader in the hub's own process, or in another one (read-only; the engine may be running or
 * not). One short transaction between begin and end; what is returned is valid until end. */
int ln_reader_of(struct ln_store *s, struct ln_reader **out) LN_MUST;
int ln_reader_open(const char *path, struct ln_reader **out, struct ln_err *err) LN_MUST;
void ln_reader_close(struct ln_reader *r);
int ln_reader_begin(struct ln_reader *r) LN_MUST;
void ln_reader_end(struct ln_reader *r);
/* For long loops in one transaction: what was returned so far is no longer valid, its memory is
 * used again. */
void ln_reader_forget(struct ln_reader *r);

uint32_t ln_read_channel_id(struct ln_reader *r, const char *name); /* 0 = unknown */
/* Channels in order of id: pass 0 first, then the id returned; LN_ENOTFOUND at the end. */
int ln_read_next_channel(struct ln_reader *r, uint32_t after, struct ln_channel_state *out);
int ln_read_channel(struct ln_reader *r, uint32_t chan, struct ln_channel_state *out);

int ln_read_receipt(struct ln_reader *r, uint32_t chan, uint64_t seq, struct ln_receipt *out);
/* The first message at or behind `seq` / the last at or before it; sets *seq. */
int ln_read_receipt_from(struct ln_reader *r, uint32_t chan, uint64_t *seq, struct ln_receipt *out);
int ln_read_receipt_back(struct ln_reader *r, uint32_t chan, uint64_t *seq, struct ln_receipt *out);
/* p->items stays valid until the next ln_read_result or end. LN_ENOTFOUND: not processed yet. */
int ln_read_result(struct ln_reader *r, uint32_t chan, uint64_t seq, struct ln_processed *p);
/* Only its state: LN_OK when the result can be read at all, whatever its outputs are like. */
int ln_read_state(struct ln_reader *r, uint32_t chan, uint64_t seq, uint8_t *state);
/* Bytes of output n of message seq, whatever its kind (as to be delivered). */
int ln_read_output(struct ln_reader *r, uint32_t chan, uint64_t seq, uint32_t n,
                   struct ln_span *out);
/* Next output to be delivered to dest at or behind *pos; sets *pos and *bytes. LN_ENOTFOUND when
 * there is none; LN_EAGAIN after 1,000 messages without one (*pos then says where to go on). */
int ln_read_next_output(struct ln_reader *r, uint32_t chan, uint16_t dest, struct ln_pos *pos,
                        struct ln_span *bytes, int64_t *received_us);
int ln_read_outcome(struct ln_reader *r, uint32_t chan, uint64_t seq, uint32_t n,
                    struct ln_outcome *out);
/* Events of a message in order: *i counts up from 0; LN_ENOTFOUND at the end. */
int ln_read_event(struct ln_reader *r, uint32_t chan, uint64_t seq, uint32_t *i,
                  struct ln_event *out);
/* kv pairs: *key is "" at first. In the order of the keys; in an encrypted store in that of their
 * hashes. */
int ln_read_kv_next(struct ln_reader *r, uint32_t chan, struct ln_span *key, struct ln_span *value);

/* First message of the channel received at or after time_us: binary search, no scan. */
int ln_read_seq_at(struct ln_reader *r, uint32_t chan, int64_t time_us, uint64_t *seq);

enum ln_index { LN_INDEX_CONTROL_ID = 1, LN_INDEX_PATIENT = 2 };
struct ln_found {
    uint32_t chan;
    uint64_t seq;
};
/* Messages by control id or patient id, newest first, at most max (chan 0 = all channels). Checked
 * against the record: no false hits. *n is set to how many stand in found. */
int ln_find(struct ln_reader *r, enum ln_index index, uint32_t chan, struct ln_span key,
            struct ln_found *found, unsigned max, unsigned *n);

/* Parked messages and outputs: pass seq 0 first; n = LN_WHOLE for a message as a whole. */
int ln_read_next_parked(struct ln_reader *r, uint32_t chan, uint64_t *seq, uint32_t *n);

#endif
