/* Where key-encryption keys come from: a file, or what a command says. */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/secret.h"
#include "crypt/keys.h"

enum { TEXT_MAX = 16 * 1024, COMMAND_MS = 30 * 1000 };

extern char **environ;

static int wrong(struct ln_err *err, const char *path, int e)
{
    return ln_err_set(err, e == ENOENT ? LN_ENOTFOUND : ln_code_from_errno(e), "key file %s: %s%s",
                      path, strerror(e), e == ENOENT ? " (lunate key new FILE makes one)" : "");
}

/* Reads all of fd into text; the length, or -1. */
static ssize_t read_all(int fd, char *text)
{
    size_t have = 0;
    for (ssize_t n; have < TEXT_MAX; have += (size_t)n) {
        n = read(fd, text + have, TEXT_MAX - have);
        if (n < 0 && errno == EINTR)
            n = 0;
        else if (n <= 0)
            return n < 0 ? -1 : (ssize_t)have;
    }
    errno = EFBIG;
    return -1;
}

static int check_mode(const char *path, const struct stat *st, struct ln_err *err)
{
    if (!S_ISREG(st->st_mode) && !S_ISFIFO(st->st_mode))
        return ln_err_set(err, LN_EINVAL, "key file %s is not a file", path);
    if (S_ISREG(st->st_mode) && (st->st_mode & 027))
        return ln_err_set(err, LN_EINVAL,
                          "key file %s can be read or changed by others (mode %04o): chmod 600 %s",
                          path, st->st_mode & 07777, path);
    return LN_OK;
}

int ln_keys_read(const char *path, struct ln_keys **out, struct ln_err *err)
{
    struct stat st;
    char *text = ln_secret_new(TEXT_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC), rc;
    if (!text)
        rc = ln_err_set(err, LN_ENOMEM, "out of memory");
    else if (fd < 0 || fstat(fd, &st))
        rc = wrong(err, path, errno);
    else if ((rc = check_mode(path, &st, err)) == LN_OK) {
        ssize_t n = read_all(fd, text);
        char source[400];
        snprintf(source, sizeof source, "key file %s", path);
        rc = n < 0 ? wrong(err, path, errno)
                   : ln_keys_parse(ln_span(text, (size_t)n), source, out, err);
    }
    if (fd >= 0)
        close(fd);
    ln_secret_free(text, TEXT_MAX);
    return rc;
}

/* ---- a command ----------------------------------------------------------------------------- */

/* Its standard output until it ends or time is up. */
static ssize_t listen_to(int fd, char *text)
{
    int64_t until = ln_mono_us() + (int64_t)COMMAND_MS * 1000;
    size_t have = 0;
    while (have < TEXT_MAX) {
        int64_t left = (until - ln_mono_us()) / 1000;
        struct pollfd p = {.fd = fd, .events = POLLIN};
        int m = left > 0 ? poll(&p, 1, (int)left) : 0;
        if (m < 0 && errno == EINTR)
            continue;
        if (m == 0)
            errno = ETIMEDOUT;
        if (m <= 0)
            return -1;
        ssize_t n = read(fd, text + have, TEXT_MAX - have);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? -1 : (ssize_t)have;
        have += (size_t)n;
    }
    errno = EFBIG;
    return -1;
}

static int start(const char *command, pid_t *pid, int *fd)
{
    char *argv[] = {(char *)"sh", (char *)"-c", (char *)(uintptr_t)command, NULL};
    posix_spawn_file_actions_t acts;
    posix_spawnattr_t attr;
    sigset_t none;
    int pair[2];
    if (pipe2(pair, O_CLOEXEC))
        return errno;
    sigemptyset(&none); /* it may come from a thread that has them blocked */
    posix_spawnattr_init(&attr);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_init(&acts);
    posix_spawn_file_actions_addopen(&acts, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&acts, pair[1], 1);
    int rc = posix_spawn(pid, "/bin/sh", &acts, &attr, argv, environ);
    posix_spawn_file_actions_destroy(&acts);
    posix_spawnattr_destroy(&attr);
    close(pair[1]);
    if (rc)
        close(pair[0]);
    *fd = pair[0];
    return rc;
}

int ln_keys_run(const char *command, struct ln_keys **out, struct ln_err *err)
{
    char *text = ln_secret_new(TEXT_MAX);
    pid_t pid;
    int fd, status = 0, rc;
    if (!text)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    int e = start(command, &pid, &fd);
    if (e) {
        ln_secret_free(text, TEXT_MAX);
        return ln_err_set(err, ln_code_from_errno(e), "key_command: %s", strerror(e));
    }
    ssize_t n = listen_to(fd, text);
    e = errno;
    close(fd);
    if (n < 0)
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    if (n < 0)
        rc = ln_err_set(err, e == ETIMEDOUT ? LN_ETIMEOUT : LN_EIO, "key_command: %s",
                        e == ETIMEDOUT ? "it gave no key within 30 s" : strerror(e));
    else if (!WIFEXITED(status) || WEXITSTATUS(status))
        rc = ln_err_set(err, LN_EIO,
                        "key_command failed (%s %d): it must write the key to its "
                        "standard output and end with 0",
                        WIFEXITED(status) ? "exit status" : "signal",
                        WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    else
        rc = ln_keys_parse(ln_span(text, (size_t)n), "what key_command said", out, err);
    ln_secret_free(text, TEXT_MAX);
    return rc;
}

int ln_keys_get(const char *site, const char *file, const char *command, struct ln_keys **out,
                struct ln_err *err)
{
    char path[4096];
    const char *credentials = getenv("CREDENTIALS_DIRECTORY");
    if (command && *command)
        return ln_keys_run(command, out, err);
    if (file[0] == '/')
        return ln_keys_read(file, out, err);
    if (credentials) {
        snprintf(path, sizeof path, "%.2000s/%.2000s", credentials, file);
        if (access(path, F_OK) == 0)
            return ln_keys_read(path, out, err);
    }
    snprintf(path, sizeof path, "%.2000s/%.2000s", site, file);
    return ln_keys_read(path, out, err);
}

/* ---- making one ---------------------------------------------------------------------------- */

/* The engine must go on reading the file when root has added a key. */
static bool keep_owner(int fd, const struct stat *as)
{
    bool same = fchown(fd, as->st_uid, as->st_gid) == 0;
    return fchmod(fd, same ? as->st_mode & 0777 : 0600) == 0;
}

/* Writes the file under another name; all or nothing. as: the file whose place it takes; NULL:
 * there must be none. */
static int write_file(const char *path, const char *text, size_t len, const struct stat *as)
{
    char tmp[4096], folder[4096];
    snprintf(tmp, sizeof tmp, "%.4000s.new-%ld", path, (long)getpid());
    snprintf(folder, sizeof folder, "%.4000s", path);
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = 0;
    int e = 0, fd = open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (fd < 0)
        return errno;
    errno = 0;
    if ((as && !keep_owner(fd, as)) || write(fd, text, len) != (ssize_t)len || fsync(fd))
        e = errno ? errno : EIO;
    close(fd);
    if (!e && (as ? rename(tmp, path) : link(tmp, path)))
        e = errno;
    if (e || !as)
        unlink(tmp);
    int dir = open(slash ? folder : ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!e && (dir < 0 || fsync(dir)))
        e = errno;
    if (dir >= 0)
        close(dir);
    return e;
}

/* A line of text with a new key. */
static int new_line(char *to, size_t cap, char id[LN_KEYS_ID_TEXT], size_t *len, struct ln_err *err)
{
    unsigned char raw[LN_AEAD_KEY];
    struct ln_keys *k = NULL;
    int rc = ln_crypt_random(raw, sizeof raw);
    if (rc != LN_OK)
        return ln_err_set(err, rc, "the system gives no random numbers");
    char hex[2 * LN_AEAD_KEY + 1];
    for (size_t i = 0; i < sizeof raw; i++)
        snprintf(hex + 2 * i, 3, "%02x", raw[i]);
    rc = ln_keys_parse(ln_span(hex, sizeof hex - 1), "new key", &k, err);
    if (rc == LN_OK) {
        ln_keys_id(k, 0, id);
        *len = (size_t)snprintf(to, cap, "# lunate key %s\n%s\n", id, hex);
    }
    ln_keys_unref(k);
    ln_secret_wipe(raw, sizeof raw);
    ln_secret_wipe(hex, sizeof hex);
    return rc;
}

int ln_keys_make(const char *path, bool add, char id[LN_KEYS_ID_TEXT], struct ln_err *err)
{
    struct ln_keys *old = NULL;
    char *text = ln_secret_new(TEXT_MAX);
    size_t len = 0;
    struct stat st;
    if (!text)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    int rc = new_line(text, 200, id, &len, err);
    if (rc == LN_OK && add && (rc = ln_keys_read(path, &old, err)) == LN_OK) {
        int fd = open(path, O_RDONLY | O_CLOEXEC);
        ssize_t n = fd < 0 ? -1 : read(fd, text + len, TEXT_MAX - len);
        if (n < 0 || fstat(fd, &st))
            rc = wrong(err, path, errno);
        else if (ln_keys_count(old) >= LN_KEYS_MAX || (size_t)n >= TEXT_MAX - len)
            rc = ln_err_set(err, LN_EFULL, "%s has %u keys: take out those that nothing needs",
                            path, ln_keys_count(old));
        else if (n == LN_AEAD_KEY)
            rc =
                ln_err_set(err, LN_EINVAL, "%s is one raw key: no other can stand beside it", path);
        else
            len += (size_t)n;
        if (fd >= 0)
            close(fd);
    }
    ln_keys_unref(old);
    int e = rc == LN_OK ? write_file(path, text, len, add ? &st : NULL) : 0;
    if (e == EEXIST)
        rc =
            ln_err_set(err, LN_EEXIST,
                       "%s is there already: with --add a new key is put before those in it", path);
    else if (e)
        rc = ln_err_set(err, ln_code_from_errno(e), "cannot write %s: %s", path, strerror(e));
    ln_secret_free(text, TEXT_MAX);
    return rc;
}
