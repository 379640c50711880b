/* The site's specs before a reload: `lunate -C SITE test` as a child, whose output is read and
 * whose exit status says whether the candidate may go live. */
#include "hub/hub.h"
#include "hub/spawn.h"

#include <dirent.h>
#include <signal.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const int LIMIT_S = 300;
enum { OUTPUT_MAX = 256 * 1024 };

struct ln_specs {
    struct ln_hub *hub;
    struct ln_stream stream;
    struct ln_buf out;
    struct event timer;
    pid_t pid;
    bool ended, closed, late;
    int status;
    ln_specs_done *done;
    void *arg;
};

/* The line a person wants: the first that names a spec's file, or the last there is. */
static void reason(const struct ln_specs *s, char *text, size_t cap)
{
    struct ln_span rest = ln_buf_span(&s->out), best = {0};
    while (rest.len) {
        const char *nl = memchr(rest.ptr, '\n', rest.len);
        size_t n = nl ? (size_t)(nl - rest.ptr) : rest.len;
        if (n)
            best = ln_span(rest.ptr, n);
        if (n && memmem(rest.ptr, n, "_spec.lua", 9))
            break;
        n += nl != NULL;
        rest = ln_span(rest.ptr + n, rest.len - n);
    }
    snprintf(text, cap, "%.*s", (int)(best.len > 300 ? 300 : best.len),
             best.len ? best.ptr : "no output");
    for (char *p = text; *p; p++)
        if ((unsigned char)*p < 0x20)
            *p = ' ';
}

static void finish_if_done(struct ln_specs *s)
{
    char text[320];
    if (!s->ended || !s->closed)
        return;
    bool good = !s->late && WIFEXITED(s->status) && WEXITSTATUS(s->status) == 0;
    if (s->late)
        snprintf(text, sizeof text, "they took longer than %d s", LIMIT_S);
    else
        reason(s, text, sizeof text);
    s->hub->specs = NULL;
    evtimer_del(&s->timer);
    ln_stream_fini(&s->stream);
    ln_buf_fini(&s->out);
    s->done(s->arg, good ? NULL : text);
    free(s);
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_specs *s = owner;
    if (s->out.len + len <= OUTPUT_MAX)
        (void)!ln_buf_add(&s->out, data, len);
}

static void on_closed(void *owner, int code, const char *why)
{
    struct ln_specs *s = owner;
    (void)code;
    (void)why;
    s->closed = true;
    finish_if_done(s);
}

static void on_timer(evutil_socket_t fd, short what, void *arg)
{
    struct ln_specs *s = arg;
    (void)fd;
    (void)what;
    s->late = s->closed = true;
    kill(s->pid, SIGKILL);
    finish_if_done(s);
}

void ln_specs_exited(struct ln_hub *h, pid_t pid, int status)
{
    if (!h->specs || h->specs->pid != pid)
        return;
    h->specs->ended = true;
    h->specs->status = status;
    finish_if_done(h->specs);
}

static const struct ln_stream_ops specs_ops = {.data = on_data, .closed = on_closed};

bool ln_specs_there(const struct ln_hub *h)
{
    static const char end[] = "_spec.lua";
    char path[4200];
    bool there = false;
    snprintf(path, sizeof path, "%s/spec", h->site);
    DIR *dir = opendir(path);
    for (struct dirent *e; dir && !there && (e = readdir(dir));) {
        size_t n = strlen(e->d_name);
        there = n >= sizeof end - 1 && strcmp(e->d_name + n - (sizeof end - 1), end) == 0;
    }
    if (dir)
        closedir(dir);
    return there;
}

static int spawn(const char *site, pid_t *pid, int *fd)
{
    const char *argv[] = {"lunate", "-C", site, "test", NULL};
    static const int fds[] = {LN_SPAWN_NULL, LN_SPAWN_PAIR, LN_SPAWN_PAIR};
    return ln_spawn(LN_SPAWN_SELF, argv, fds, 3, pid, fd);
}

int ln_specs_start(struct ln_hub *h, ln_specs_done *done, void *arg, struct ln_err *err)
{
    struct timeval tv = {LIMIT_S, 0};
    struct ln_specs *s = calloc(1, sizeof *s);
    int fd;
    if (!s)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    *s = (struct ln_specs){.hub = h, .done = done, .arg = arg};
    int rc = spawn(h->site, &s->pid, &fd);
    if (rc == LN_OK)
        rc = ln_stream_init(&s->stream, h->base, fd, &specs_ops, s);
    if (rc != LN_OK) {
        free(s);
        return ln_err_set(err, rc, "cannot run the specs: %s", ln_strerror(rc));
    }
    evtimer_assign(&s->timer, h->base, on_timer, s);
    evtimer_add(&s->timer, &tv);
    h->specs = s;
    return LN_OK;
}

void ln_specs_stop(struct ln_hub *h)
{
    if (h->specs)
        kill(h->specs->pid, SIGKILL);
}
