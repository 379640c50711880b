/* The commit of a site that is a git checkout, and what differs from it: `git status` as a child,
 * asked at each load. Without git, or when it refuses (a checkout of another user), nothing is
 * known, and nothing waits for it. */
#include "hub/hub.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

extern char **environ;

static const int LIMIT_S = 20;
enum { OUTPUT_MAX = 4 << 20 };

struct ln_git {
    struct ln_hub *hub;
    struct ln_stream stream;
    struct ln_buf out; /* records with a zero byte behind each, as `git status -z` has them */
    struct event timer;
    pid_t pid;
    bool running, whole, again;
};

static bool is_checkout(const char *site)
{
    char path[4096], name[4200];
    struct stat st;
    snprintf(path, sizeof path, "%s", site);
    for (char *slash = path + strlen(path); slash; slash = strrchr(path, '/')) {
        *slash = '\0';
        snprintf(name, sizeof name, "%s/.git", path);
        if (stat(name, &st) == 0)
            return true;
    }
    return false;
}

static void end(struct ln_git *g, bool whole)
{
    g->running = false;
    g->whole = whole;
    evtimer_del(&g->timer);
    ln_stream_fini(&g->stream);
    if (g->again) {
        g->again = false;
        ln_git_ask(g->hub);
    } else if (whole) {
        ln_version_git_known(g->hub);
    }
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_git *g = owner;
    if (g->out.len + len <= OUTPUT_MAX)
        (void)!ln_buf_add(&g->out, data, len);
}

static void on_closed(void *owner, int code, const char *why)
{
    struct ln_git *g = owner;
    (void)code;
    (void)why;
    end(g, g->out.len > 0 && g->out.len < OUTPUT_MAX && !g->out.failed);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct ln_git *g = arg;
    (void)fd;
    (void)what;
    kill(g->pid, SIGKILL);
    end(g, false);
}

static const struct ln_stream_ops git_ops = {.data = on_data, .closed = on_closed};

static int spawn(const char *site, pid_t *pid, int *fd)
{
    int pair[2];
    const char *argv[] = {"git",
                          "--no-optional-locks",
                          "-c",
                          "core.fsmonitor=false",
                          "-C",
                          site,
                          "status",
                          "--porcelain=v2",
                          "-z",
                          "--branch",
                          "--untracked-files=all",
                          "--",
                          "channels",
                          "lib",
                          "tables",
                          "lunate.lua",
                          NULL};
    posix_spawn_file_actions_t fa;
    posix_spawnattr_t attr;
    sigset_t none, dfl;
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return LN_EIO;
    sigemptyset(&none);
    sigfillset(&dfl);
    posix_spawn_file_actions_init(&fa);
    posix_spawn_file_actions_addopen(&fa, 0, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_adddup2(&fa, pair[1], 1);
    posix_spawn_file_actions_addopen(&fa, 2, "/dev/null", O_WRONLY, 0);
    posix_spawnattr_init(&attr);
    posix_spawnattr_setflags(&attr, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attr, &none);
    posix_spawnattr_setsigdefault(&attr, &dfl);
    int rc = posix_spawnp(pid, "git", &fa, &attr, (char **)(uintptr_t)argv, environ);
    posix_spawnattr_destroy(&attr);
    posix_spawn_file_actions_destroy(&fa);
    close(pair[1]);
    if (rc != 0) {
        close(pair[0]);
        return LN_ENOTFOUND;
    }
    evutil_make_socket_nonblocking(pair[0]);
    *fd = pair[0];
    return LN_OK;
}

void ln_git_ask(struct ln_hub *h)
{
    struct timeval tv = {LIMIT_S, 0};
    struct ln_git *g = h->git;
    int fd;
    if (g && g->running) {
        g->again = true;
        return;
    }
    if (!is_checkout(h->site) || (!g && !(g = h->git = calloc(1, sizeof *g))))
        return;
    g->hub = h;
    g->whole = false;
    ln_buf_clear(&g->out, 64 * 1024);
    if (spawn(h->site, &g->pid, &fd) != LN_OK)
        return;
    if (ln_stream_init(&g->stream, h->base, fd, &git_ops, g) != LN_OK) {
        kill(g->pid, SIGKILL);
        return;
    }
    g->running = true;
    evtimer_assign(&g->timer, h->base, on_timer, g);
    evtimer_add(&g->timer, &tv);
}

/* Whether a record of git's is about this file of the site, whose folder may be anywhere in the
 * checkout. */
static bool is_about(struct ln_span rec, const char *path)
{
    size_t n = strlen(path);
    return rec.len > n && memcmp(rec.ptr + rec.len - n, path, n) == 0 &&
           (rec.ptr[rec.len - n - 1] == '/' || rec.ptr[rec.len - n - 1] == ' ');
}

bool ln_git_of(const struct ln_hub *h, const struct ln_conf_file *file, unsigned nfile,
               char *commit, size_t cap, bool *dirty)
{
    static const char oid[] = "# branch.oid ";
    const struct ln_git *g = h->git;
    *dirty = false;
    commit[0] = '\0';
    if (!g || !g->whole)
        return false;
    for (struct ln_span rest = ln_buf_span(&g->out); rest.len;) {
        size_t n = strnlen(rest.ptr, rest.len);
        struct ln_span rec = ln_span(rest.ptr, n);
        if (n > sizeof oid && memcmp(rec.ptr, oid, sizeof oid - 1) == 0 &&
            n - sizeof oid + 1 < cap && rec.ptr[sizeof oid - 1] != '(')
            snprintf(commit, cap, "%.*s", (int)(n - sizeof oid + 1), rec.ptr + sizeof oid - 1);
        for (unsigned i = 0; i < nfile && !*dirty && n && rec.ptr[0] != '#'; i++)
            *dirty = is_about(rec, file[i].path);
        n += n < rest.len;
        rest = ln_span(rest.ptr + n, rest.len - n);
    }
    return commit[0] != '\0';
}

void ln_git_stop(struct ln_hub *h)
{
    struct ln_git *g = h->git;
    if (!g)
        return;
    if (g->running) {
        kill(g->pid, SIGKILL);
        evtimer_del(&g->timer);
        ln_stream_fini(&g->stream);
    }
    ln_buf_fini(&g->out);
    free(g);
    h->git = NULL;
}
