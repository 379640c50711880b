#include "audit/follow.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "audit/chain.h"
#include "base/clock.h"
#include "base/crc.h"

enum { MARK = 128, HEAD_US = 5000000 };

struct place { /* behind an entry */
    char file[AUDIT_NAME]; /* "": before the first */
    off_t at;
    uint64_t seq;
    unsigned char hash[32];
};

struct ln_audit_follow {
    int dir, sent;
    EVP_PKEY *key;
    FILE *f; /* of place.file; NULL: not open */
    struct place place, mark;
    unsigned long marks; /* which of the two is written next */
    char slots[2 * AUDIT_SLOT]; /* `head` as it was read last */
    uint64_t head_seq;
    unsigned char head_hash[32];
    char *line;
    size_t cap;
    int64_t opened_us;
    bool again; /* all of the log is given anew: to be said */
    char path[4096];
};

static int failed(const struct ln_audit_follow *f, struct ln_err *err, const char *what)
{
    return ln_err_set(err, ln_code_from_errno(errno), "the audit log %s: %s cannot be read: %s",
                      f->path, what, strerror(errno));
}

/* ---- the mark ---- */

static int mark_text(char out[MARK], unsigned long n, uint64_t seq, const unsigned char hash[32])
{
    char hex[LN_AUDIT_HEX], body[MARK];
    ln_audit_hex(hash, hex);
    int len = snprintf(body, sizeof body, "%lu %llu %s", n, (unsigned long long)seq, hex);
    memset(out, ' ', MARK);
    len = snprintf(out, MARK, "%s %08x", body, (unsigned)ln_crc32c(body, (size_t)len));
    out[len] = ' ';
    out[MARK - 1] = '\n';
    return len;
}

static void read_mark(struct ln_audit_follow *f)
{
    char both[2 * MARK + 1] = "", hex[LN_AUDIT_HEX], want[MARK];
    (void)!pread(f->sent, both, 2 * MARK, 0);
    for (int i = 0; i < 2; i++) {
        unsigned long n;
        unsigned long long seq;
        unsigned char hash[32];
        if (sscanf(both + i * MARK, "%lu %llu %64[0-9a-f]", &n, &seq, hex) != 3 ||
            !ln_audit_unhex(hex, hash))
            continue;
        mark_text(want, n, seq, hash);
        if (memcmp(want, both + i * MARK, MARK) != 0 || n < f->marks)
            continue;
        f->marks = n + 1;
        f->mark.seq = seq;
        memcpy(f->mark.hash, hash, 32);
    }
}

int ln_audit_follow_mark(struct ln_audit_follow *f, struct ln_err *err)
{
    char text[MARK];
    if (f->place.seq == f->mark.seq && memcmp(f->place.hash, f->mark.hash, 32) == 0)
        return LN_OK;
    mark_text(text, f->marks, f->place.seq, f->place.hash);
    if (pwrite(f->sent, text, MARK, f->marks % 2 ? MARK : 0) != MARK || fdatasync(f->sent) != 0)
        return ln_err_set(err, ln_code_from_errno(errno), "%s/sent cannot be written: %s", f->path,
                          strerror(errno));
    f->marks++;
    f->mark = f->place;
    return LN_OK;
}

/* ---- where we are ---- */

static void close_file(struct ln_audit_follow *f)
{
    if (f->f)
        fclose(f->f);
    f->f = NULL;
}

static void go_to(struct ln_audit_follow *f, const struct place *p)
{
    close_file(f);
    f->place = *p;
}

void ln_audit_follow_rewind(struct ln_audit_follow *f)
{
    go_to(f, &f->mark);
}

static int open_file(struct ln_audit_follow *f, struct ln_err *err)
{
    int fd = openat(f->dir, f->place.file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    f->f = fd >= 0 ? fdopen(fd, "r") : NULL;
    if (f->f && fseeko(f->f, f->place.at, SEEK_SET) == 0)
        return LN_OK;
    if (fd >= 0 && !f->f)
        close(fd);
    return failed(f, err, f->place.file);
}

/* The name of the file behind the present one. False: there is none. */
static bool next_name(struct ln_audit_follow *f, char name[AUDIT_NAME])
{
    size_t n;
    bool found = false;
    char(*list)[AUDIT_NAME] = ln_audit_files(f->dir, &n);
    for (size_t i = 0; i < n && !found; i++)
        if ((found = strcmp(list[i], f->place.file) > 0))
            memcpy(name, list[i], AUDIT_NAME);
    free(list);
    return found;
}

/* The next whole line from here on; LN_EAGAIN. The place stays; *end is where the line ends. */
static int read_line(struct ln_audit_follow *f, struct ln_span *line, off_t *end,
                     struct ln_err *err)
{
    for (;;) {
        char name[AUDIT_NAME];
        if (f->place.file[0] && !f->f && open_file(f, err) != LN_OK)
            return err->code;
        ssize_t n = f->f ? getline(&f->line, &f->cap, f->f) : -1;
        if (n > 0 && f->line[n - 1] == '\n') {
            *line = ln_span(f->line, (size_t)n - 1);
            *end = f->place.at + n;
            return LN_OK;
        }
        if (f->f && ferror(f->f))
            return failed(f, err, f->place.file);
        bool more = next_name(f, name);
        close_file(f); /* read anew when there is more of it */
        if (!more)
            return LN_EAGAIN;
        memcpy(f->place.file, name, AUDIT_NAME);
        f->place.at = 0;
    }
}

static void pass(struct ln_audit_follow *f, off_t end, const struct ln_audit_link *e)
{
    f->place.at = end;
    if (e) {
        f->place.seq = e->seq;
        memcpy(f->place.hash, e->hash, 32);
    }
}

/* Finds the place behind the mark: the file that has it is read from its beginning. */
static int find_mark(struct ln_audit_follow *f, struct ln_err *err)
{
    const struct place first = {.file = ""};
    struct place at = first;
    struct ln_span line;
    struct ln_audit_link e;
    size_t n;
    off_t end;
    int rc = LN_OK;
    uint64_t seq = f->mark.seq;
    if (seq == 0)
        return LN_OK;
    char(*list)[AUDIT_NAME] = ln_audit_files(f->dir, &n);
    for (size_t i = 0; i < n && strtoull(list[i], NULL, 10) <= seq; i++)
        memcpy(at.file, list[i], AUDIT_NAME);
    free(list);
    go_to(f, &at);
    while (rc == LN_OK && f->place.seq < seq && (rc = read_line(f, &line, &end, err)) == LN_OK) {
        bool is = ln_audit_read_line(line, &e);
        if (is && e.seq > seq) { /* what was cut off and recorded as that, or moved away */
            memcpy(f->place.hash, f->mark.hash, 32);
            f->place.seq = seq;
            break;
        }
        pass(f, end, is ? &e : NULL);
    }
    if (rc != LN_OK && rc != LN_EAGAIN)
        return rc;
    if (f->place.seq != seq || memcmp(f->place.hash, f->mark.hash, 32) != 0) {
        go_to(f, &first);
        f->again = true;
    }
    f->mark = f->place;
    close_file(f);
    return LN_OK;
}

int ln_audit_follow_open(const char *data, struct ln_audit_follow **out, struct ln_err *err)
{
    struct ln_audit_follow *f = calloc(1, sizeof *f);
    if (!f)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    f->sent = -1;
    f->opened_us = ln_mono_us();
    snprintf(f->path, sizeof f->path, "%s/audit", data);
    f->dir = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    int rc = f->dir >= 0 ? ln_audit_public_load(f->dir, "public.pem", &f->key, err)
                         : ln_err_set(err, ln_code_from_errno(errno), "the audit log %s: %s",
                                      f->path, strerror(errno));
    if (rc == LN_OK && (f->sent = ln_audit_file(f->dir, "sent", O_RDWR)) < 0)
        rc = ln_err_set(err, ln_code_from_errno(errno), "%s/sent: %s", f->path, strerror(errno));
    if (rc == LN_OK) {
        read_mark(f);
        rc = find_mark(f, err);
    }
    if (rc == LN_OK)
        *out = f;
    else
        ln_audit_follow_close(f);
    return rc;
}

void ln_audit_follow_close(struct ln_audit_follow *f)
{
    if (!f)
        return;
    close_file(f);
    if (f->dir >= 0)
        close(f->dir);
    if (f->sent >= 0)
        close(f->sent);
    EVP_PKEY_free(f->key);
    free(f->line);
    free(f);
}

/* ---- entries ---- */

static void read_head(struct ln_audit_follow *f)
{
    char slots[2 * AUDIT_SLOT] = {0};
    (void)ln_audit_read_small(f->dir, "head", slots, sizeof slots);
    if (memcmp(slots, f->slots, sizeof slots) == 0)
        return;
    memcpy(f->slots, slots, sizeof slots);
    ln_audit_head_read(f->dir, f->key, &f->head_seq, f->head_hash);
}

static void look(struct ln_audit_follow *f, const struct ln_audit_link *e, char *note, size_t cap)
{
    unsigned long long seq = e->seq, last = f->place.seq;
    note[0] = '\0';
    if (f->again)
        snprintf(note, cap, "the log is not the one that was sent before: all of it is sent again");
    else if (!e->intact)
        snprintf(note, cap, "entry %llu was changed: its hash is another", seq);
    else if (seq > last + 1 && last > 0)
        snprintf(note, cap, "entries %llu to %llu are missing", last + 1, seq - 1);
    else if (seq <= last)
        snprintf(note, cap, "entry %llu stands behind entry %llu", seq, last);
    else if (last > 0 && memcmp(e->prev, f->place.hash, 32) != 0)
        snprintf(note, cap, "entry %llu does not follow the one before it", seq);
    f->again = false;
}

int ln_audit_follow_next(struct ln_audit_follow *f, struct ln_audit_followed *out,
                         struct ln_err *err)
{
    struct ln_audit_link e;
    off_t end;
    int rc;
    if (f->place.seq >= f->head_seq)
        read_head(f);
    if (f->head_seq == 0 && ln_mono_us() - f->opened_us < HEAD_US)
        return LN_EAGAIN; /* the first entry is being signed */
    if (f->head_seq == 0)
        return ln_err_set(err, LN_EPARSE,
                          "the audit log %s has no valid signed head: see lunate audit verify",
                          f->path);
    if (f->place.seq == f->head_seq)
        return LN_EAGAIN;
    while ((rc = read_line(f, &out->line, &end, err)) == LN_OK) {
        if (!ln_audit_read_line(out->line, &e)) { /* torn: the entry behind it says so */
            pass(f, end, NULL);
            continue;
        }
        if (e.seq > f->head_seq) {
            close_file(f);
            return LN_EAGAIN;
        }
        look(f, &e, out->note, sizeof out->note);
        pass(f, end, &e);
        out->seq = e.seq;
        out->file = f->place.file;
        return LN_OK;
    }
    return rc;
}

uint64_t ln_audit_follow_marked(const struct ln_audit_follow *f)
{
    return f->mark.seq;
}

uint64_t ln_audit_follow_head(struct ln_audit_follow *f)
{
    read_head(f);
    return f->head_seq;
}

const char *ln_audit_follow_head_text(const struct ln_audit_follow *f, char *out, size_t cap)
{
    char when[40], sig[89], hex[LN_AUDIT_HEX];
    unsigned long long seq;
    out[0] = '\0';
    for (int i = 0; i < 2 && !out[0] && f->place.seq == f->head_seq; i++)
        if (sscanf(f->slots + i * AUDIT_SLOT,
                   "{\"seq\":%18llu,\"hash\":\"%64[0-9a-f]\",\"time\":\"%39[^\"]\",\"sig\":\"%88["
                   "^\"]\"}",
                   &seq, hex, when, sig) == 4 &&
            seq == f->head_seq)
            snprintf(out, cap, "seq=%llu hash=%s time=%s sig=%s", seq, hex, when, sig);
    return out;
}
