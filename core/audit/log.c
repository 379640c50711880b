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
enum { AHEAD = 256 << 10, TORN_SHOWN = 64 };

struct ln_audit {
    int dir, lock, fd, head;
    uint64_t file_max, size, reserved; /* of the file at fd */
    uint64_t seq; /* of the last entry; 0: none */
    unsigned char hash[32], hash_key[32];
    EVP_PKEY *key;
    bool made_key; /* to be recorded */
    uint64_t torn; /* bytes behind the last entry that are none; 0: none */
    char torn_hash[LN_AUDIT_HEX];
    char path[4096];
};

static int fail(struct ln_audit *a, struct ln_err *err, const char *what)
{
    int e = errno;
    if (e == EFBIG || e == ENOSPC || e == EDQUOT)
        return ln_err_set(err, LN_EFULL, "the audit log %s cannot be written (%s): make room",
                          a->path, strerror(e));
    return ln_err_set(err, ln_code_from_errno(e), "the audit log %s cannot be %s: %s", a->path,
                      what, strerror(e));
}

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
        return fail(a, err, "opened");
    a->lock = ln_audit_file(a->dir, "lock", O_RDWR);
    a->head = a->lock < 0 ? -1 : ln_audit_file(a->dir, "head", O_RDWR);
    if (a->head < 0)
        return fail(a, err, "opened");
    if (fstat(a->head, &st) == 0 && st.st_size == 0) { /* room for both heads, once */
        char blank[2 * AUDIT_SLOT];
        memset(blank, ' ', sizeof blank);
        if (pwrite(a->head, blank, sizeof blank, 0) != sizeof blank)
            return fail(a, err, "written");
    }
    return LN_OK;
}

static int take_lock(struct ln_audit *a, struct ln_err *err)
{
    int64_t until = ln_mono_us() + LOCK_US;
    struct timespec pause = {0, 2000000};
    while (flock(a->lock, LOCK_EX | LOCK_NB) != 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return fail(a, err, "locked");
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

/* ---- the tail ---- */

/* Finds the last entry in the file at fd: true when there is one. What stands behind it is torn. */
static int read_tail(struct ln_audit *a, int fd, uint64_t size, bool *found, struct ln_err *err)
{
    size_t want = size < AUDIT_LINE_MAX * 2 ? (size_t)size : AUDIT_LINE_MAX * 2;
    char *text = malloc(want + 1);
    unsigned char hash[32];
    struct ln_audit_link link;
    *found = false;
    if (!text)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    if (pread(fd, text, want, (off_t)(size - want)) != (ssize_t)want) {
        free(text);
        return fail(a, err, "read");
    }
    size_t end = want;
    while (end > 0 && !*found) {
        char *lf = memrchr(text, '\n', end);
        if (!lf)
            break;
        char *before = lf > text ? memrchr(text, '\n', (size_t)(lf - text)) : NULL;
        char *line = before ? before + 1 : text;
        *found = ln_audit_read_line(ln_span(line, (size_t)(lf - line)), &link) && link.intact;
        end = *found ? (size_t)(lf - text) + 1 : (size_t)(line - text);
    }
    a->torn = want - (*found ? end : 0);
    if (a->torn && ln_audit_sha256(text + want - a->torn, a->torn, hash))
        ln_audit_hex(hash, a->torn_hash);
    if (*found) {
        a->seq = link.seq;
        memcpy(a->hash, link.hash, 32);
    }
    free(text);
    return LN_OK;
}

static void use(struct ln_audit *a, int fd, uint64_t size)
{
    if (a->fd >= 0)
        close(a->fd);
    a->fd = fd;
    a->size = size;
    a->reserved = 0;
}

/* The newest file and its last entry; none yet: fd stays -1. */
static int find_tail(struct ln_audit *a, struct ln_err *err)
{
    size_t n;
    int rc = LN_OK;
    bool found = false;
    char(*name)[AUDIT_NAME] = ln_audit_files(a->dir, &n);
    a->seq = 0;
    a->torn = 0;
    memset(a->hash, 0, sizeof a->hash);
    use(a, -1, 0);
    for (size_t i = n; i-- > 0 && rc == LN_OK && !found;) {
        struct stat st;
        int fd = ln_audit_file(a->dir, name[i], O_RDWR | O_APPEND);
        if (fd < 0 || fstat(fd, &st) != 0) {
            rc = fail(a, err, "opened");
            if (fd >= 0)
                close(fd);
            break;
        }
        rc = read_tail(a, fd, (uint64_t)st.st_size, &found, err);
        if (a->fd < 0 && rc == LN_OK)
            use(a, fd, (uint64_t)st.st_size);
        else
            close(fd);
        if (!found && a->torn) /* a file that holds no entry at all is left as it stands */
            break;
    }
    free(name);
    return rc;
}

/* Under the lock: true state of the end. Cheap when nobody else has written. */
static int catch_up(struct ln_audit *a, struct ln_err *err)
{
    struct stat st;
    if (a->fd >= 0 && !a->torn && a->size < a->file_max && fstat(a->fd, &st) == 0 &&
        st.st_nlink > 0 && (uint64_t)st.st_size == a->size)
        return LN_OK;
    return find_tail(a, err);
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
        int rc = fail(a, err, "written");
        if (fd >= 0)
            close(fd);
        return rc;
    }
    use(a, fd, (uint64_t)st.st_size);
    return LN_OK;
}

static void add_own(struct ln_audit *a, struct ln_buf *b, const char *action, const char *object,
                    const char *text, uint64_t *seq, unsigned char hash[32])
{
    struct ln_audit_who who;
    ln_audit_who_self(&who, "audit");
    struct ln_audit_entry e = {.who = &who, .action = action, .object = object, .text = text};
    (void)a;
    ln_audit_line(b, &e, ++*seq, hash);
}

/* What the log has to say of itself before the entries that are to come. */
static void add_notes(struct ln_audit *a, struct ln_buf *b, uint64_t *seq, unsigned char hash[32])
{
    char object[128];
    if (a->torn) {
        ln_buf_addc(b, '\n'); /* ends what is torn */
        snprintf(object, sizeof object, "%llu bytes, sha256 %s", (unsigned long long)a->torn,
                 a->torn_hash);
        add_own(a, b, "audit.healed", object,
                "what stands before this line is no entry: a writer ended in the middle of it", seq,
                hash);
    }
    if (a->made_key)
        add_own(a, b, "audit.key", "public.pem",
                *seq > 0 ? "a new key was made: the old one was not there" : "a key was made", seq,
                hash);
}

static int write_batch(struct ln_audit *a, const struct ln_buf *b, struct ln_err *err)
{
    reserve(a);
    if (ln_audit_write_all(a->fd, b->data, b->len) && fdatasync(a->fd) == 0)
        return LN_OK;
    int rc = fail(a, err, "written");
    if (ftruncate(a->fd, (off_t)a->size) != 0) /* nobody was told of these; else it is healed */
        use(a, -1, 0);
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
    rc = catch_up(a, err);
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
            a->made_key = false;
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
    char slot[AUDIT_SLOT], hex[LN_AUDIT_HEX], *sig;
    out[0] = '\0';
    if (a->seq == 0 || !ln_audit_slot_write(a->key, a->seq, a->hash, slot))
        return out;
    slot[AUDIT_SLOT - 1] = '\0';
    ln_audit_hex(a->hash, hex);
    sig = strstr(slot, "\"sig\":\"");
    snprintf(out, cap, "seq=%llu hash=%s sig=%.88s", (unsigned long long)a->seq, hex,
             sig ? sig + 7 : "");
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
