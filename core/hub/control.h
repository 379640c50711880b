/* Shared by control.c and verb_*.c: clients of the control socket and how they are answered. */
#ifndef LN_HUB_CONTROL_H
#define LN_HUB_CONTROL_H

#ifndef LN_CDEF
#include "hub/gate.h"
#include "hub/hub.h"

enum { LN_ASK_WORDS = 64 };

struct ln_asker {
    struct ln_stream stream;
    struct ln_buf in;
    struct ln_hub *hub;
    unsigned waiting; /* answers to come; the client is freed after the last */
    bool gone;
    bool outside; /* came by the socket for others */
    bool busy, pumping; /* a request is under way: the next one waits */
    struct event again; /* reads on */
    struct ln_gate gate;
    char *word[LN_ASK_WORDS];
    unsigned nword, verb;
};

/* word[0] is the verb; n words, none NULL. Answers now, or holds the client and answers later. */
typedef void ln_verb_fn(struct ln_asker *k, char **word, unsigned n);

void ln_asker_reply(struct ln_asker *k, int status, struct ln_span text);
/* One line of text with an exit status. */
void ln_asker_fail(struct ln_asker *k, int status, const char *fmt, ...) LN_PRINTF(3, 4);
/* {"ok":true} and, when key is not NULL, one member more. */
void ln_asker_done(struct ln_asker *k, const char *key, const char *value);
/* The same with a number. */
void ln_asker_number(struct ln_asker *k, const char *key, uint64_t value);
/* Begins {"ok":true and, when key is not NULL, one member more. */
void ln_asker_ok(struct ln_buf *b, const char *key, const char *value);
/* {"ok":true, ...} without its closing brace: answered when all that was done before is on disk, so
 * that it outlives a crash; when that takes longer than 3 s, with a member `unkept` that says so.
 * Takes b's memory. */
void ln_asker_kept(struct ln_asker *k, struct ln_buf *b);
/* The client waits for an answer; let_go after it was given. */
void ln_asker_hold(struct ln_asker *k);
void ln_asker_let_go(struct ln_asker *k);
/* Somebody else answers, over the same connection: the hub has no more to do with it. */
void ln_asker_leave(struct ln_asker *k);

/* Holds the client and asks check again and again until it has answered (true), or limit_s has
 * passed: then once more with late = true, when it has to. arg is freed after the last. */
typedef bool ln_wait_fn(struct ln_asker *k, void *arg, bool late);
void ln_asker_wait(struct ln_asker *k, double limit_s, ln_wait_fn *check, void *arg);

/* The channel, or the destination of "CHANNEL/DEST"; NULL when k has been told that there is none.
 */
struct ln_channel *ln_asker_channel(struct ln_asker *k, const char *name);
struct ln_dest *ln_asker_dest(struct ln_asker *k, const char *word);
/* What an operator did stands with the message it concerned. */
void ln_asker_note(struct ln_channel *c, uint64_t seq, uint16_t dest, const char *text);

/* ---- verb_channel.c: start, pause, resume; stop, drain */
ln_verb_fn ln_verb_mode, ln_verb_halt;
/* ---- verb_queue.c: hold, release; head, step, skip */
ln_verb_fn ln_verb_dest, ln_verb_head, ln_verb_step, ln_verb_skip;
/* ---- verb_move.c */
ln_verb_fn ln_verb_reposition;
/* ---- verb_message.c: resend, edit, settle */
ln_verb_fn ln_verb_resend, ln_verb_edit, ln_verb_settle;
/* ---- alerter.c: alerts, passed on */
ln_verb_fn ln_verb_alerts;
/* ---- verb_key.c: key rotate */
ln_verb_fn ln_verb_key;
/* ---- verb_reload.c */
ln_verb_fn ln_verb_reload, ln_verb_rollback;
#endif

/* The i-th verb of the control socket; NULL behind the last. */
const char *ln_control_verb(unsigned i);

#endif
