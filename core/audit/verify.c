/* Reads the whole log and names what is wrong with it: changed, missing, put in another order, cut
 * off. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/chain.h"

struct look {
    const struct ln_audit_verify *v;
    struct ln_audit_report *r;
    const char *file;
    uint64_t line, expected; /* expected: the next number */
    unsigned char last[32]; /* hash of the entry before */
    bool lost; /* the entry before is not what it was: its hash proves nothing */
    /* bytes that are no entry, and that the next entry has to account for */
    struct ln_buf torn;
    uint64_t torn_line;
    uint64_t head_seq;
    unsigned char head_hash[32];
    bool head_seen, *known_seen;
};

static void say(struct look *l, uint64_t line, uint64_t seq, const char *fmt, ...) LN_PRINTF(4, 5);
static void say(struct look *l, uint64_t line, uint64_t seq, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    l->r->problems++;
    if (l->v->found)
        l->v->found(l->v->arg, l->file, line, seq, text);
}

/* The heads that are known must be those of the entries. */
static void compare_heads(struct look *l, const struct ln_audit_link *e)
{
    char hex[LN_AUDIT_HEX];
    ln_audit_hex(e->hash, hex);
    if (e->seq == l->head_seq) {
        l->head_seen = true;
        if (memcmp(e->hash, l->head_hash, 32) != 0)
            say(l, l->line, e->seq, "it is not the entry that was signed: the log was rewritten");
    }
    for (unsigned i = 0; i < l->v->nknown; i++)
        if (l->v->known[i].seq == e->seq) {
            l->known_seen[i] = true;
            if (strcmp(l->v->known[i].hash, hex) != 0)
                say(l, l->line, e->seq,
                    "it is not the entry of the head that is known from elsewhere: the log was "
                    "rewritten");
        }
}

/* Torn bytes are in order when this entry says so, and how many they were. */
static void settle_torn(struct look *l, struct ln_span line)
{
    unsigned char md[32];
    char hex[LN_AUDIT_HEX], want[128];
    if (!l->torn.len)
        return;
    size_t len = l->torn.len - 1; /* without the LF that ended it */
    if (ln_audit_sha256(l->torn.data, len, md)) {
        ln_audit_hex(md, hex);
        snprintf(want, sizeof want, "%zu bytes, sha256 %s", len, hex);
        struct ln_span action = ln_audit_member(line, "action"),
                       object = ln_audit_member(line, "object");
        if (ln_span_is(action, "audit.healed") && ln_span_is(object, want)) {
            l->r->healed++;
        } else {
            say(l, l->torn_line, l->expected, "this line is no entry: it was changed");
            l->lost = true;
        }
    }
    ln_buf_clear(&l->torn, 0);
}

static void take_order(struct look *l, const struct ln_audit_link *e)
{
    unsigned long long seq = e->seq, expected = l->expected;
    if (seq > expected + 1)
        say(l, l->line, expected, "entries %llu to %llu are missing before it", expected, seq - 1);
    else if (seq > expected)
        say(l, l->line, expected, "entry %llu is missing before entry %llu", expected, seq);
    else if (seq < expected)
        say(l, l->line, seq, "entry %llu stands behind entry %llu: put in another order, or twice",
            seq, expected - 1);
    else if (!l->lost && memcmp(e->prev, l->last, 32) != 0)
        say(l, l->line, seq,
            seq == 1 ? "the first entry names one before it"
                     : "it does not follow the entry before it: one of the two "
                       "was rewritten");
}

static void take_line(struct look *l, struct ln_span line)
{
    struct ln_audit_link e;
    l->line++;
    if (!ln_audit_read_line(line, &e)) {
        if (!l->torn.len)
            l->torn_line = l->line;
        (void)!ln_buf_add_span(&l->torn, line);
        (void)!ln_buf_addc(&l->torn, '\n');
        return;
    }
    uint64_t torn = l->torn.len;
    settle_torn(l, line);
    if (torn && l->lost && e.seq == l->expected + 1)
        l->expected++; /* the broken line was that entry */
    if (l->r->entries == 0) {
        l->r->first = e.seq;
        if (l->v->from) { /* what came before was moved away */
            memcpy(l->last, e.prev, 32);
            if (e.seq < l->v->from)
                l->expected = e.seq;
        }
    }
    take_order(l, &e);
    if (!e.intact)
        say(l, l->line, e.seq, "it was changed: its hash is another");
    else
        compare_heads(l, &e);
    if (ln_span_is(ln_audit_member(line, "action"), "audit.cut") &&
        ln_span_is(ln_audit_member(line, "object"), "head"))
        say(l, l->line, e.seq,
            "no signed head was there when it was written: what stands before it may have been cut "
            "or rewritten");
    l->r->entries++;
    l->lost = !e.intact;
    l->expected = e.seq >= l->expected ? e.seq + 1 : l->expected;
    memcpy(l->last, e.hash, 32);
    l->r->last = e.seq;
}

static int take_file(struct look *l, int dir, const char *name)
{
    int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    FILE *f = fd >= 0 ? fdopen(fd, "r") : NULL;
    char *line = NULL;
    size_t cap = 0;
    ssize_t n;
    if (!f)
        return ln_code_from_errno(errno);
    l->file = name;
    l->line = 0;
    l->r->files++;
    unsigned long long first = strtoull(name, NULL, 10);
    if (first != l->expected && !(l->r->entries == 0 && l->v->from))
        say(l, 0, 0,
            "the file begins with entry %llu by its name, %llu was to come: a file is "
            "missing or was renamed",
            first, (unsigned long long)l->expected);
    while ((n = getline(&line, &cap, f)) > 0) {
        if (line[n - 1] == '\n') {
            take_line(l, ln_span(line, (size_t)n - 1));
        } else { /* the next writer heals it; what was acknowledged is signed, and missed then */
            struct ln_audit_link e;
            l->line++;
            if (ln_audit_read_line(ln_span(line, (size_t)n), &e))
                say(l, l->line, e.seq, "it has no end of line: cut off");
            else
                l->r->torn = true;
        }
    }
    free(line);
    fclose(f);
    return LN_OK;
}

static void take_end(struct look *l)
{
    unsigned long long last = l->expected - 1, head = l->head_seq;
    if (l->torn.len)
        say(l, l->torn_line, l->expected, "this line is no entry: it was changed");
    if (head > last)
        say(l, 0, last + 1, "entries %llu to %llu are missing at the end: cut off", last + 1, head);
    else if (head == 0 && l->r->entries)
        say(l, 0, 0, "no head is signed with this key: it was removed, or the key is another");
    else if (!l->head_seen && head >= l->r->first && l->r->entries)
        say(l, 0, head, "the entry of the signed head was not found");
    for (unsigned i = 0; i < l->v->nknown; i++)
        if (!l->known_seen[i] && l->v->known[i].seq > last) {
            say(l, 0, last + 1,
                "entries %llu to %llu are missing at the end: a head that is known "
                "from elsewhere names them",
                last + 1, (unsigned long long)l->v->known[i].seq);
            break;
        }
}

int ln_audit_check(const char *data, const struct ln_audit_verify *v, struct ln_audit_report *r,
                   struct ln_err *err)
{
    struct look l = {.v = v, .r = r, .expected = v->from ? v->from : 1};
    char path[4096];
    EVP_PKEY *key = NULL;
    size_t n = 0;
    *r = (struct ln_audit_report){0};
    snprintf(path, sizeof path, "%s/audit", data);
    int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return errno == ENOENT
                   ? ln_err_set(err, LN_ENOTFOUND, "there is no audit log %s", path)
                   : ln_err_set(err, ln_code_from_errno(errno), "%s: %s", path, strerror(errno));
    int rc = ln_audit_public_load(v->public_key ? AT_FDCWD : dir,
                                  v->public_key ? v->public_key : "public.pem", &key, err);
    if (rc == LN_OK) {
        ln_audit_head_read(dir, key, &l.head_seq, l.head_hash);
        l.known_seen = calloc(v->nknown + 1, sizeof *l.known_seen);
        char(*name)[AUDIT_NAME] = ln_audit_files(dir, &n);
        for (size_t i = 0; i < n && rc == LN_OK && l.known_seen; i++)
            if ((rc = take_file(&l, dir, name[i])) != LN_OK)
                ln_err_set(err, rc, "%s/%s: %s", path, name[i], ln_strerror(rc));
        l.file = n ? name[n - 1] : "head";
        take_end(&l);
        free(name);
    }
    r->signed_to = l.head_seq;
    ln_audit_hex(l.last, r->hash);
    free(l.known_seen);
    ln_buf_fini(&l.torn);
    EVP_PKEY_free(key);
    close(dir);
    return rc;
}
