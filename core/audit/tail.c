/* The end of the log as it is on disk, and whether it is the one that was signed last. */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "audit/chain.h"

int ln_audit_failed(struct ln_audit *a, struct ln_err *err, const char *what)
{
    int e = errno;
    if (e == EFBIG || e == ENOSPC || e == EDQUOT)
        return ln_err_set(err, LN_EFULL, "the audit log %s cannot be written (%s): make room",
                          a->path, strerror(e));
    return ln_err_set(err, ln_code_from_errno(e), "the audit log %s cannot be %s: %s", a->path,
                      what, strerror(e));
}

void ln_audit_use(struct ln_audit *a, int fd, uint64_t size)
{
    if (a->fd >= 0)
        close(a->fd);
    a->fd = fd;
    a->size = size;
    a->reserved = 0;
}

/* The last bytes of a file, all that can hold its last entry; freed by the caller. */
static char *read_end(struct ln_audit *a, int fd, uint64_t size, size_t *len, struct ln_err *err)
{
    *len = size < AUDIT_LINE_MAX * 2 ? (size_t)size : AUDIT_LINE_MAX * 2;
    char *text = malloc(*len + 1);
    if (!text) {
        (void)!ln_err_set(err, LN_ENOMEM, "out of memory");
    } else if (pread(fd, text, *len, (off_t)(size - *len)) != (ssize_t)*len) {
        (void)!ln_audit_failed(a, err, "read");
        free(text);
        text = NULL;
    }
    return text;
}

/* Finds the last entry of a text: *end is where its line ends, 0 without one. An entry that lacks
 * nothing but the end of its line is one, too. */
static bool last_entry(const char *text, size_t len, struct ln_audit_link *link, size_t *end)
{
    for (size_t stop = len; stop > 0;) {
        bool whole = text[stop - 1] == '\n';
        size_t line = stop - whole;
        const char *before = line ? memrchr(text, '\n', line) : NULL;
        const char *from = before ? before + 1 : text;
        if ((whole || stop == len) &&
            ln_audit_read_line(ln_span(from, line - (size_t)(from - text)), link) && link->intact) {
            *end = stop;
            return true;
        }
        stop = (size_t)(from - text);
    }
    *end = 0;
    return false;
}

/* Takes the last entry of the file at fd; newest: what stands behind it is torn. */
static int read_tail(struct ln_audit *a, int fd, uint64_t size, bool newest, bool *found,
                     struct ln_err *err)
{
    unsigned char hash[32];
    struct ln_audit_link link;
    size_t len, end;
    char *text = read_end(a, fd, size, &len, err);
    if (!text)
        return err->code;
    *found = last_entry(text, len, &link, &end);
    if (newest) {
        a->torn = len - end;
        a->open_line = end > 0 && text[end - 1] != '\n';
        if (a->torn && ln_audit_sha256(text + end, a->torn, hash))
            ln_audit_hex(hash, a->torn_hash);
    }
    if (*found) {
        a->seq = link.seq;
        memcpy(a->hash, link.hash, 32);
    }
    free(text);
    return LN_OK;
}

/* Sets *is when the entry that was signed is among those that end this file. */
static int find_signed(struct ln_audit *a, int fd, uint64_t size, bool *is, struct ln_err *err)
{
    struct ln_audit_link link;
    size_t len;
    char *text = *is ? NULL : read_end(a, fd, size, &len, err);
    if (!text)
        return *is ? LN_OK : err->code;
    for (const char *p = text, *end = text + len, *lf; p < end && !*is; p = lf + 1) {
        lf = memchr(p, '\n', (size_t)(end - p));
        lf = lf ? lf : end;
        *is = ln_audit_read_line(ln_span(p, (size_t)(lf - p)), &link) && link.intact &&
              link.seq == a->head_seq && memcmp(link.hash, a->head_hash, 32) == 0;
    }
    free(text);
    return LN_OK;
}

/* The newest file and its last entry; none yet: fd stays -1. */
static int find_tail(struct ln_audit *a, bool *is_signed, struct ln_err *err)
{
    size_t n;
    int rc = LN_OK;
    bool found = false;
    char(*name)[AUDIT_NAME] = ln_audit_files(a->dir, &n);
    a->seq = 0;
    a->torn = 0;
    a->open_line = *is_signed = false;
    memset(a->hash, 0, sizeof a->hash);
    ln_audit_use(a, -1, 0);
    for (size_t i = n, files = 0; i-- > 0 && rc == LN_OK && !(found && *is_signed) && files < 3;) {
        struct stat st;
        int fd = ln_audit_file(a->dir, name[i], O_RDWR | O_APPEND);
        if (fd < 0 || fstat(fd, &st) != 0) {
            rc = ln_audit_failed(a, err, "opened");
            if (fd >= 0)
                close(fd);
            break;
        }
        bool newest = a->fd < 0;
        if (!found)
            rc = read_tail(a, fd, (uint64_t)st.st_size, newest, &found, err);
        files += found; /* a file is begun before its first entry is signed: one may lie between */
        if (rc == LN_OK)
            rc = find_signed(a, fd, (uint64_t)st.st_size, is_signed, err);
        if (newest && rc == LN_OK)
            ln_audit_use(a, fd, (uint64_t)st.st_size);
        else
            close(fd);
    }
    free(name);
    return rc;
}

int ln_audit_catch_up(struct ln_audit *a, struct ln_err *err)
{
    struct stat st;
    bool is_signed;
    if (a->fd >= 0 && !a->torn && !a->open_line && a->end == AUDIT_AS_SIGNED &&
        a->size < a->file_max && fstat(a->fd, &st) == 0 && st.st_nlink > 0 &&
        (uint64_t)st.st_size == a->size)
        return LN_OK;
    ln_audit_head_read(a->dir, a->key, &a->head_seq, a->head_hash);
    int rc = find_tail(a, &is_signed, err);
    if (a->made_key || (a->head_seq == a->seq && (is_signed || a->seq == 0)))
        a->end = AUDIT_AS_SIGNED; /* a key that was just made has signed nothing yet */
    else if (a->head_seq == 0)
        a->end = AUDIT_NO_HEAD;
    else
        a->end = is_signed && a->seq > a->head_seq ? AUDIT_UNSIGNED : AUDIT_CUT;
    return rc;
}
