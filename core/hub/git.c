/* The commit of a site that is a git checkout, and what differs from it: `git status` as a child,
 * asked at each load. Without git, or when it refuses (a checkout of another user), nothing is
 * known, and nothing waits for it.
 *
 * Git tells of the files on disk, so that its answer says nothing of a version that is not what the
 * last load has read there: what runs may be another. */
#include "hub/hub.h"
#include "base/proc.h"
#include "hub/spawn.h"

#include <signal.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const int LIMIT_S = 20;
enum { OUTPUT_MAX = 4 << 20 };

struct ln_git {
    struct ln_hub *hub;
    struct ln_stream stream;
    struct ln_buf out; /* records with a zero byte behind each, as `git status -z` has them */
    struct event timer;
    pid_t pid;
    bool running, whole, again;
    bool closed, ended, cut; /* its output, the process; not all of the output was taken */
    int status; /* of the process */
    uint64_t *disk; /* the versions that the last load has read from disk, */
    unsigned ndisk;
    bool read; /* which has ended */
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
    } else if (whole && g->read) {
        ln_version_git_known(g->hub);
    }
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_git *g = owner;
    if (g->out.len + len > OUTPUT_MAX || ln_buf_add(&g->out, data, len) != LN_OK)
        g->cut = true;
}

/* A git that failed half-way has named the commit, but not all that differs from it. */
static void end_if_done(struct ln_git *g)
{
    if (g->running && g->closed && g->ended)
        end(g, g->out.len > 0 && !g->cut && g->status == 0);
}

static void on_closed(void *owner, int code, const char *why)
{
    struct ln_git *g = owner;
    (void)code;
    (void)why;
    g->closed = true;
    end_if_done(g);
}

void ln_git_exited(struct ln_hub *h, pid_t pid, int status)
{
    if (!h->git || !h->git->running || h->git->pid != pid)
        return;
    h->git->ended = true;
    h->git->status = status;
    end_if_done(h->git);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct ln_git *g = arg;
    (void)fd;
    (void)what;
    if (!g->ended)
        kill(g->pid, SIGKILL);
    end(g, false);
}

static const struct ln_stream_ops git_ops = {.data = on_data, .closed = on_closed};

static int spawn(const char *site, pid_t *pid, int *fd)
{
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
                          "--ignored", /* no commit has these, either */
                          "--",
                          "channels",
                          "lib",
                          "tables",
                          "lunate.lua",
                          NULL};
    static const int fds[] = {LN_SPAWN_NULL, LN_SPAWN_PAIR, LN_SPAWN_NULL};
    int rc = ln_spawn("git", argv, fds, 3, pid, fd);
    if (rc == LN_OK)
        (void)!setpriority(PRIO_PROCESS, (id_t)*pid, LN_NICE); /* messages first */
    return rc;
}

void ln_git_ask(struct ln_hub *h)
{
    struct timeval tv = {LIMIT_S, 0};
    struct ln_git *g = h->git;
    int fd;
    if (g)
        g->read = false;
    if (g && g->running) {
        g->again = true;
        return;
    }
    if (!is_checkout(h->site) || (!g && !(g = h->git = calloc(1, sizeof *g))))
        return;
    g->hub = h;
    g->whole = g->closed = g->ended = g->cut = false;
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

void ln_git_read(struct ln_hub *h, const struct ln_conf *conf)
{
    struct ln_git *g = h->git;
    unsigned n = conf ? conf->nchannel : 0;
    if (!g)
        return;
    free(g->disk);
    g->disk = calloc(n + 1u, sizeof *g->disk);
    g->ndisk = 0;
    for (unsigned i = 0; i < n && g->disk; i++)
        if (!conf->channel[i].pin && !conf->channel[i].error)
            g->disk[g->ndisk++] = conf->channel[i].version64;
    g->read = true;
    if (g->whole)
        ln_version_git_known(h);
}

static bool is_on_disk(const struct ln_git *g, const struct ln_conf_channel *ch)
{
    for (unsigned i = 0; i < g->ndisk && g->read; i++)
        if (g->disk[i] == ch->version64)
            return !ch->pin;
    return false;
}

/* Whether a record of git's is about this file of the site, whose folder may be anywhere in the
 * checkout. */
static bool is_about(struct ln_span rec, const char *path)
{
    size_t n = strlen(path);
    return rec.len > n && memcmp(rec.ptr + rec.len - n, path, n) == 0 &&
           (rec.ptr[rec.len - n - 1] == '/' || rec.ptr[rec.len - n - 1] == ' ');
}

bool ln_git_of(const struct ln_hub *h, const struct ln_conf_channel *ch, char *commit, size_t cap,
               bool *dirty)
{
    static const char oid[] = "# branch.oid ";
    const struct ln_git *g = h->git;
    *dirty = false;
    commit[0] = '\0';
    if (!g || !g->whole || !is_on_disk(g, ch))
        return false;
    for (struct ln_span rest = ln_buf_span(&g->out); rest.len;) {
        size_t n = strnlen(rest.ptr, rest.len);
        struct ln_span rec = ln_span(rest.ptr, n);
        if (n > sizeof oid && memcmp(rec.ptr, oid, sizeof oid - 1) == 0 &&
            n - sizeof oid + 1 < cap && rec.ptr[sizeof oid - 1] != '(')
            snprintf(commit, cap, "%.*s", (int)(n - sizeof oid + 1), rec.ptr + sizeof oid - 1);
        for (unsigned i = 0; i < ch->nfile && !*dirty && n && rec.ptr[0] != '#'; i++)
            *dirty = is_about(rec, ch->file[i].path);
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
    free(g->disk);
    free(g);
    h->git = NULL;
}
