/* Appending: under the lock, behind whatever others have appended meanwhile. */
#include <errno.h>
#include <fcntl.h>
#include <openssl/hmac.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <syslog.h>
#include <time.h>
#include <unistd.h>

#include "audit/chain.h"
#include "base/clock.h"

static const uint64_t FILE_MAX = 16 << 20;
static const int64_t LOCK_US = 5 * 1000000;
enum { AHEAD = 256 << 10 };

/* ---- opening ---- */

static int open_folder(struct ln_audit *a, const char *data, struct ln_err *err)
{
    struct stat st;
    snprintf(a->path, sizeof a->path, "%s/audit", data);
    a->dir = open(a->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
    if (a->dir < 0 && errno == ENOENT && mkdir(a->path, 0700) == 0) {
        a->dir = open(a->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC | O_NOFOLLOW);
        if (a->dir >= 0 && geteuid() == 0 && stat(data, &st) == 0)
            (void)!fchown(a->dir, st.st_uid, st.st_gid);
    }
    if (a->dir < 0)
        return ln_audit_failed(a, err, "opened");
    a->lock = ln_audit_file(a->dir, "lock", O_RDWR);
    a->head = a->lock < 0 ? -1 : ln_audit_file(a->dir, "head", O_RDWR);
    if (a->head < 0)
        return ln_audit_failed(a, err, "opened");
    if (fstat(a->head, &st) == 0 && st.st_size == 0) { /* room for both heads, once */
        char blank[2 * AUDIT_SLOT];
        memset(blank, ' ', sizeof blank);
        if (pwrite(a->head, blank, sizeof blank, 0) != sizeof blank)
            return ln_audit_failed(a, err, "written");
    }
    return LN_OK;
}

static int take_lock(struct ln_audit *a, struct ln_err *err)
{
    int64_t until = ln_mono_us() + LOCK_US;
    struct timespec pause = {0, 2000000};
    while (flock(a->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return ln_audit_failed(a, err, "locked");
        if (ln_mono_us() > until)
            return ln_err_set(err, LN_EBUSY,
                              "the audit log %s has been locked by another process for 5 s "
                              "(fuser %s/lock names it)",
                              a->path, a->path);
        nanosleep(&pause, NULL);
    }
    return LN_OK;
}

static bool derive(struct ln_audit *a)
{
    unsigned char secret[32];
    size_t len = sizeof secret;
    unsigned n = 32;
    bool ok = EVP_PKEY_get_raw_private_key(a->key, secret, &len) == 1 &&
              HMAC(EVP_sha256(), secret, (int)len, (const unsigned char *)"identifiers", 11,
                   a->hash_key, &n);
    OPENSSL_cleanse(secret, sizeof secret);
    return ok;
}

int ln_audit_open(const char *data, uint64_t file_max, struct ln_audit **out, struct ln_err *err)
{
    struct ln_audit *a = calloc(1, sizeof *a);
    if (!a)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    signal(SIGXFSZ, SIG_IGN); /* a limit on file sizes is an error to be told, not an end */
    a->dir = a->lock = a->fd = a->head = -1;
    a->file_max = file_max ? file_max : FILE_MAX;
    int rc = open_folder(a, data, err);
    if (rc == LN_OK)
        rc = take_lock(a, err);
    if (rc == LN_OK) {
        rc = ln_audit_key_load(a->dir, &a->made_key, &a->key, err);
        if (rc == LN_OK && !derive(a))
            rc = ln_err_set(err, LN_EIO, "the audit log %s: its key cannot be used", a->path);
        flock(a->lock, LOCK_UN);
    }
    if (rc == LN_OK)
        *out = a;
    else
        ln_audit_close(a);
    return rc;
}

void ln_audit_close(struct ln_audit *a)
{
    if (!a)
        return;
    const int fds[] = {a->dir, a->lock, a->fd, a->head};
    for (size_t i = 0; i < sizeof fds / sizeof *fds; i++)
        if (fds[i] >= 0)
            close(fds[i]);
    EVP_PKEY_free(a->key);
    OPENSSL_cleanse(a->hash_key, sizeof a->hash_key);
    free(a);
}

/* ---- writing ---- */

/* Room for the next entries is taken ahead, so that a full disk does not stop views at once. */
static void reserve(struct ln_audit *a)
{
    if (a->size + AHEAD / 2 > a->reserved &&
        fallocate(a->fd, FALLOC_FL_KEEP_SIZE, (off_t)a->size, AHEAD) == 0)
        a->reserved = a->size + AHEAD;
}

static int next_file(struct ln_audit *a, struct ln_err *err)
{
    char name[AUDIT_NAME];
    struct stat st;
    if (a->fd >= 0 && a->size < a->file_max)
        return LN_OK;
    snprintf(name, sizeof name, "%012llu.jsonl",
             (unsigned long long)(a->seq + 1) % 1000000000000ull);
    int fd = ln_audit_file(a->dir, name, O_RDWR | O_APPEND);
    if (fd < 0 || fstat(fd, &st) != 0 || fsync(a->dir) != 0) {
        int rc = ln_audit_failed(a, err, "written");
        if (fd >= 0)
            close(fd);
        return rc;
    }
    ln_audit_use(a, fd, (uint64_t)st.st_size);
    return LN_OK;
}

static void add_own(struct ln_buf *b, const char *action, const char *object, const char *text,
                    uint64_t *seq, unsigned char hash[32])
{
    struct ln_audit_who who;
    ln_audit_who_self(&who, "audit");
    struct ln_audit_entry e = {.who = &who, .action = action, .object = object, .text = text};
    ln_audit_line(b, &e, ++*seq, hash);
}

/* What was signed and is not there keeps its numbers: verify goes on naming it. */
static void add_end(struct ln_audit *a, struct ln_buf *b, uint64_t *seq, unsigned char hash[32])
{
    char object[64] = "head";
    unsigned long long last = a->seq, head = a->head_seq;
    if (a->end == AUDIT_UNSIGNED) {
        snprintf(object, sizeof object, "%llu-%llu", head + 1, last);
        add_own(b, "audit.unsigned", object,
                "their writer was ended before it had signed them, or they are another hand's", seq,
                hash);
    } else if (a->end == AUDIT_CUT) {
        snprintf(object, sizeof object, "%llu-%llu", last < head ? last + 1 : head, head);
        *seq = head;
        memcpy(hash, a->head_hash, 32);
        add_own(b, "audit.cut", object,
                "these were signed, and are not there or are not what was signed", seq, hash);
    } else if (a->end == AUDIT_NO_HEAD) {
        add_own(b, "audit.cut", object, "no valid head was there: it was removed or changed", seq,
                hash);
    }
}

/* What the log has to say of itself before the entries that are to come. */
static void add_notes(struct ln_audit *a, struct ln_buf *b, uint64_t *seq, unsigned char hash[32])
{
    char object[128];
    if (a->torn || a->open_line)
        ln_buf_addc(b, '\n'); /* ends what is torn */
    if (a->torn) {
        snprintf(object, sizeof object, "%llu bytes, sha256 %s", (unsigned long long)a->torn,
                 a->torn_hash);
        add_own(b, "audit.healed", object,
                "what stands before this line is no entry: a writer ended in the middle of it", seq,
                hash);
    }
    add_end(a, b, seq, hash);
    if (a->made_key)
        add_own(b, "audit.key", "public.pem",
                *seq > 0 ? "a new key was made: the old one was not there" : "a key was made", seq,
                hash);
}

static int write_batch(struct ln_audit *a, const struct ln_buf *b, struct ln_err *err)
{
    reserve(a);
    if (ln_audit_write_all(a->fd, b->data, b->len) && fdatasync(a->fd) == 0)
        return LN_OK;
    int rc = ln_audit_failed(a, err, "written");
    if (ftruncate(a->fd, (off_t)a->size) != 0) /* nobody was told of these; else it is healed */
        ln_audit_use(a, -1, 0);
    a->reserved = 0;
    return rc;
}

static void sign_head(struct ln_audit *a)
{
    char slot[AUDIT_SLOT];
    if (ln_audit_slot_write(a->key, a->seq, a->hash, slot) &&
        pwrite(a->head, slot, sizeof slot, a->seq % 2 ? AUDIT_SLOT : 0) == sizeof slot)
        (void)!fdatasync(a->head);
}

int ln_audit_append(struct ln_audit *a, const struct ln_audit_entry *e, unsigned n,
                    struct ln_err *err)
{
    struct ln_buf b = {0};
    unsigned char hash[32];
    int rc = take_lock(a, err);
    if (rc != LN_OK)
        return rc;
    rc = ln_audit_catch_up(a, err);
    if (rc == LN_OK)
        rc = next_file(a, err);
    if (rc == LN_OK) {
        uint64_t seq = a->seq, torn = a->torn;
        memcpy(hash, a->hash, 32);
        add_notes(a, &b, &seq, hash);
        for (unsigned i = 0; i < n; i++)
            ln_audit_line(&b, &e[i], ++seq, hash);
        rc = b.failed ? ln_err_set(err, LN_ENOMEM, "out of memory") : write_batch(a, &b, err);
        if (rc == LN_OK) {
            a->seq = seq;
            memcpy(a->hash, hash, 32);
            a->size += b.len;
            a->torn -= torn;
            a->made_key = a->open_line = false;
            a->end = AUDIT_AS_SIGNED;
            sign_head(a);
        }
    }
    ln_buf_fini(&b);
    flock(a->lock, LOCK_UN);
    return rc;
}

/* ---- what others ask ---- */

uint64_t ln_audit_head(const struct ln_audit *a, char hash[LN_AUDIT_HEX])
{
    ln_audit_hex(a->hash, hash);
    return a->seq;
}

const char *ln_audit_head_text(struct ln_audit *a, char *out, size_t cap)
{
    char slot[AUDIT_SLOT], hex[LN_AUDIT_HEX], when[40] = "", sig[89] = "";
    out[0] = '\0';
    if (a->seq == 0 || !ln_audit_slot_write(a->key, a->seq, a->hash, slot))
        return out;
    slot[AUDIT_SLOT - 1] = '\0';
    ln_audit_hex(a->hash, hex);
    const char *rest = strstr(slot, "\"time\":\"");
    if (!rest || sscanf(rest, "\"time\":\"%39[^\"]\",\"sig\":\"%88[^\"]\"", when, sig) != 2)
        return out;
    snprintf(out, cap, "seq=%llu hash=%s time=%s sig=%s", (unsigned long long)a->seq, hex, when,
             sig);
    return out;
}

void ln_audit_syslog(struct ln_audit *a, const char *site)
{
    char text[256];
    if (ln_audit_head_text(a, text, sizeof text)[0])
        syslog(LOG_AUTHPRIV | LOG_NOTICE, "lunate[%d]: audit head site=%s %s", (int)getpid(), site,
               text);
}

void ln_audit_hash(const struct ln_audit *a, struct ln_span id, char *out, size_t cap)
{
    unsigned char md[32];
    unsigned n = 32;
    if (HMAC(EVP_sha256(), a->hash_key, 32, (const unsigned char *)id.ptr, id.len, md, &n))
        snprintf(out, cap, "h:%02x%02x%02x%02x%02x%02x%02x%02x", md[0], md[1], md[2], md[3], md[4],
                 md[5], md[6], md[7]);
    else
        snprintf(out, cap, "h:?");
}
