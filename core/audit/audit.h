/* The audit log: who did what, when, from where, to which messages, why, and what came of it.
 *
 * Files of JSON lines in DATA/audit, named by the number of their first entry. Each entry carries
 * the SHA-256 of the one before it and ends with its own, over all its bytes before that; the head
 * (the last entry's number and hash) is signed with Ed25519 at each append, in `head`. Nothing is
 * ever rewritten. The hub and every verb that reads the store append under one lock (`lock`), so
 * that the log needs neither the engine nor the store, and survives both.
 *
 * An entry never holds content: messages by number, identifiers of patients as keyed hashes. */
#ifndef LN_AUDIT_AUDIT_H
#define LN_AUDIT_AUDIT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

enum { LN_AUDIT_HEX = 65, LN_AUDIT_TEXT_MAX = 8192 };

struct ln_audit_who {
    char user[64]; /* name of the account, "" = unknown */
    char role[16]; /* as which it was let in */
    char from[96]; /* terminal or address */
    char via[16]; /* "cli", "control", "view", "http", "engine" */
    int64_t uid; /* -1: none */
    int64_t login_uid; /* who logged in (sudo and su keep it); -1: not known */
    int pid;
};

/* What is NULL or "" is left out. Texts over LN_AUDIT_TEXT_MAX bytes are cut. */
struct ln_audit_entry {
    const struct ln_audit_who *who;
    const char *action; /* the verb, or "engine.start", "denied", ... */
    const char *object; /* CHANNEL, CHANNEL/SEQ, CHANNEL/DEST, a folder */
    const char *query; /* what was looked for, without values that tell of a patient */
    const char *shown; /* messages that were shown: "adt_in/1-20,25 lab/3" */
    const char *reason; /* why, as the user said */
    const char *outcome; /* "ok", "denied", "failed" */
    const char *text; /* anything else: why it failed, a script's version */
    int64_t time_us; /* 0 = now */
};

struct ln_audit;

/* Opens (and makes, when it is not there) the log below folder data. file_max: bytes at which a new
 * file is begun, 0 = 16 MiB. err says what to do: a view without an entry must be refused. */
int ln_audit_open(const char *data, uint64_t file_max, struct ln_audit **out,
                  struct ln_err *err) LN_MUST;
/* Appends n entries; they are on disk, and the head signed, when it returns LN_OK. Blocks: never
 * from an event loop. LN_EFULL, LN_EIO, LN_EBUSY (the lock was held for 5 s). */
int ln_audit_append(struct ln_audit *a, const struct ln_audit_entry *e, unsigned n,
                    struct ln_err *err) LN_MUST;
/* The head as it was signed last: for a place that whoever has this machine cannot reach. */
uint64_t ln_audit_head(const struct ln_audit *a, char hash[LN_AUDIT_HEX]);
/* "seq=N hash=HEX sig=BASE64"; "" before the first entry. */
const char *ln_audit_head_text(struct ln_audit *a, char *out, size_t cap);
/* Says the head to syslog (authpriv). */
void ln_audit_syslog(struct ln_audit *a, const char *site);
/* A keyed hash of an identifier, "h:" and 16 hex digits: equal for equal ones in this log. */
void ln_audit_hash(const struct ln_audit *a, struct ln_span id, char *out, size_t cap);
void ln_audit_close(struct ln_audit *a); /* a may be NULL */

/* ---- who.c: who is behind a process */
void ln_audit_who_self(struct ln_audit_who *w, const char *via);
/* uid and pid as the kernel gave them. Looks things up: may block. */
void ln_audit_who_peer(struct ln_audit_who *w, int64_t uid, int pid, const char *via);

/* ---- verify.c */
struct ln_audit_report {
    uint64_t files, entries, first, last; /* numbers */
    uint64_t problems, healed;
    bool torn; /* the last line is not whole: what a writer left that was ended; never acknowledged
                */
    uint64_t signed_to; /* the signed head's number; 0: no valid one */
    char hash[LN_AUDIT_HEX]; /* of the last entry */
};
struct ln_audit_known { /* a head that is known from elsewhere, as from syslog */
    uint64_t seq;
    char hash[LN_AUDIT_HEX];
};
struct ln_audit_verify {
    const char *public_key; /* PEM file; NULL: the one that lies with the log */
    uint64_t from; /* the first number that must be there; 0 = 1 */
    const struct ln_audit_known *known;
    unsigned nknown;
    /* file:line (line 0: the file as a whole), number (0: none), what is wrong */
    void (*found)(void *arg, const char *file, uint64_t line, uint64_t seq, const char *what);
    void *arg;
};
/* Reads all of it. LN_OK also when things are wrong: see problems. data as for ln_audit_open. */
int ln_audit_check(const char *data, const struct ln_audit_verify *v, struct ln_audit_report *r,
                   struct ln_err *err) LN_MUST;

#endif
