/* Configuration as the loader handed it over: plain values, checked again here, since the loader
 * ran scripts. One ln_conf is one reading of the site; channels take from it what is theirs. */
#ifndef LN_HUB_CONF_H
#define LN_HUB_CONF_H

#ifndef LN_CDEF
#include <stdbool.h>
#include <stdint.h>

#include "audit/access.h"
#include "base/err.h"
#include "hl7/charset.h"
#include "hub/blob.h"
#include "hub/conf_tls.h"
#include "hub/pin.h"
#include "ipc/proto.h"

#define LN_CONF_NAME      65
#define LN_CONF_HOST      256
#define LN_CONF_ADDRESSES 400

enum ln_ack_mode { LN_ACK_COMMIT, LN_ACK_TRANSFORM, LN_ACK_DELIVERY, LN_ACK_NONE };
/* Refusals, in the order of ln_conf_dest.on_reply. */
enum ln_refusal { LN_REFUSED_AE, LN_REFUSED_AR, LN_REFUSED_CE, LN_REFUSED_CR, LN_REFUSALS };
enum ln_duplicates { LN_DUPLICATES_PROCESS, LN_DUPLICATES_ACK, LN_DUPLICATES_FLAG };
enum ln_reply_policy { LN_POLICY_PARK, LN_POLICY_RETRY, LN_POLICY_STOP };

/* Why a try to deliver failed: the classes that `retry.on` tells apart. */
enum ln_try {
    LN_TRY_CONNECT, /* refused, unreachable, no such name: the message was not sent */
    LN_TRY_TLS, /* no handshake: neither */
    LN_TRY_TIMEOUT, /* sent, no reply in time */
    LN_TRY_CLOSED, /* sent, the connection ended before the reply */
    LN_TRY_AE,
    LN_TRY_AR,
    LN_TRY_CE,
    LN_TRY_CR,
    LN_TRIES,
    LN_TRY_OTHER = LN_TRIES, /* ours: out of memory */
};

struct ln_conf_try { /* below 0: as `retry` has it */
    enum ln_reply_policy policy;
    double first_s, factor, max_s, attempts;
};

struct ln_conf_dest {
    char name[LN_CONF_NAME];
    bool to_channel;
    char to[LN_CONF_NAME];
    char host[LN_CONF_HOST];
    int port;
    double timeout_s, retry_first_s, retry_factor, retry_max_s;
    bool enhanced; /* the receiver gives the answers that MSH-15 and MSH-16 ask for */
    unsigned attempts; /* 0 = for ever */
    unsigned stop_after_parks; /* in a row; 0 = never */
    enum ln_reply_policy on_reply[LN_REFUSALS];
    struct ln_conf_try on_try[LN_TRIES];
    struct ln_conf_tls tls;
};

struct ln_conf_channel {
    char name[LN_CONF_NAME];
    char *script; /* path relative to the site */
    char *error; /* why it does not load; all else is then unset */
    bool from_channel;
    char host[LN_CONF_HOST];
    bool by_name; /* host is a name: */
    char addresses[LN_CONF_ADDRESSES]; /* what it means; "" = it could not be found */
    char no_address[512]; /* then: why */
    int port;
    double idle_s;
    uint64_t max_message;
    bool enhanced; /* MSH-15 and MSH-16 say which answers a sender gets */
    enum ln_duplicates duplicates;
    double duplicate_window_s;
    unsigned max_connections, max_per_address; /* the latter 0: no limit */
    double frame_s;
    char **allow;
    unsigned nallow;
    struct ln_charset_policy charset; /* of what senders send */
    struct ln_conf_tls tls;
    enum ln_ack_mode ack;
    bool stop_on_error, jit;
    char **read; /* what the script may read beside the site */
    unsigned nread;
    char **reach; /* what it may connect to */
    unsigned nreach;
    char *ca; /* PEM: whom it trusts there; NULL: the system's */
    double seconds;
    unsigned memory_mb, attempts;
    double retain_days;
    uint64_t retain_mb;
    char *archive; /* folder for what is trimmed; NULL: none */
    unsigned ndest;
    struct ln_conf_dest *dest; /* in order of names, as the worker has them */
    unsigned nfile;
    struct ln_conf_file *file; /* the channel's own files, then the site's shared ones */
    unsigned nsecret; /* what it asked for with secret "NAME": not a part of its version */
    struct ln_conf_file *secret;
    uint64_t secret64; /* hash of them */
    char version[65]; /* SHA-256 over the paths and hashes of all files, hex */
    uint64_t version64; /* its first 8 bytes */
    uint64_t former64; /* as it was numbered formerly; 0: not needed, since no pin has such a one */
    struct ln_pin *pin; /* it was read from a version that the store keeps; NULL: from disk */
    char disk[65]; /* pin: version of the files on disk; "" = none */
    uint64_t tls64; /* hash of the certificates, keys and lists */
    uint64_t settings64; /* hash of the settings, to see whether they changed */
    struct ln_blob *settings; /* as they came: pairs of key and value */
};

struct ln_conf_admin {
    char host[LN_CONF_HOST];
    bool by_name; /* host is a name: as in a channel */
    char addresses[LN_CONF_ADDRESSES], no_address[512];
    int port; /* 0 = none */
    char **allow;
    unsigned nallow;
    struct ln_conf_tls tls;
    char no_tls[300]; /* tls.on, and it cannot be made */
};

struct ln_conf {
    char *data; /* folder of the store, absolute or relative to the site */
    char *log_level;
    char *key_file, *key_command; /* at most one of them: the store is encrypted */
    struct ln_conf_admin admin;
    struct ln_access access;
    char *error; /* the site as a whole cannot be used */
    struct ln_buf mistakes; /* that keep nothing from running, or will be: lines for the report */
    bool reload_tests, watch;
    bool first; /* nothing runs yet */
    struct ln_blob *settings; /* lunate.lua's pairs of key and value */
    unsigned nchannel;
    struct ln_conf_channel *channel;
    unsigned nshared;
    struct ln_conf_file *shared;
    struct ln_pin **pin; /* what the loader was given in the place of files */
    unsigned npin;
    char former_of[LN_CONF_NAME]; /* a channel whose former number is needed besides; "" = none */
    struct ln_buf *lent; /* while a record is taken: where it stands, when it may be kept */
};

/* where when it is FILE:LINE of one of the channel's files, "-" when not: what a worker says of a
 * place may be anything, and places go into the log. */
struct ln_span ln_conf_place(const struct ln_conf_channel *c, struct ln_span where);

struct ln_conf *ln_conf_new(void);
void ln_conf_free(struct ln_conf *c);
void ln_conf_admin_fini(struct ln_conf_admin *a);
/* Takes one record of the loader. LN_EPARSE when it is not as agreed. */
int ln_conf_take(struct ln_conf *c, uint8_t type, struct ln_wire_in *in,
                 struct ln_err *err) LN_MUST;
/* Before the first record: p's channel is evaluated from p's files (or cannot be: p->broken). */
int ln_conf_pin(struct ln_conf *c, struct ln_pin *p) LN_MUST;
/* After the last record, first what takes time: hashes files, reads certificates. A thread may do
 * so: c is its own then, and of pins only what nobody has looked at yet. */
int ln_conf_prepare(struct ln_conf *c) LN_MUST;
/* Then, in the loop: adds shared files to the channels, computes versions, checks that no two
 * channels listen on the same port. */
int ln_conf_finish(struct ln_conf *c) LN_MUST;
/* conf_names.c: looks names up that are to be listened on. */
void ln_conf_names(struct ln_conf *c);
/* conf_files.c: the steps of these two for files. */
int ln_conf_files_prepare(struct ln_conf *c) LN_MUST;
int ln_conf_files_finish(struct ln_conf *c, struct ln_conf_channel *ch) LN_MUST;
struct ln_conf_channel *ln_conf_find(struct ln_conf *c, const char *name);
/* Moves a channel's record out of c, so that it outlives it. */
struct ln_conf_channel *ln_conf_take_channel(struct ln_conf *c, const char *name);
void ln_conf_channel_free(struct ln_conf_channel *ch);
/* conf_set.c: one setting. False when the value is not usable; keys of the script side are passed
 * over. */
bool ln_conf_set_channel(struct ln_conf_channel *ch, const char *key, struct ln_span v);
/* The destination of that name; it is made when it is not there. NULL: too many, a bad name. */
struct ln_conf_dest *ln_conf_dest_named(struct ln_conf_channel *ch, struct ln_span name);
bool ln_conf_set_site(struct ln_conf *c, struct ln_span key, struct ln_span v);
bool ln_conf_set_number(double *out, struct ln_span v, double least, double most);
bool ln_conf_set_policy(enum ln_reply_policy *out, struct ln_span v);
/* conf_try.c. The name as in `retry.on`; "" for LN_TRY_OTHER. */
const char *ln_conf_try_name(enum ln_try t);
void ln_conf_try_default(struct ln_conf_dest *d);
/* v: "retry 5 2 300 -": what to do, then first, factor, max and attempts; "" and "-": as `retry`
 * says. */
bool ln_conf_try_set(struct ln_conf_dest *d, const char *name, struct ln_span v);
#endif

#endif
