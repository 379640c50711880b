/* `watch = true`: a reload when a file of the site is saved. Debounced: editors write a file in
 * several steps, git checkouts many files. Folders that come are watched from the next time on. A
 * file that is written to while the loader reads may be half of it: reload.c asks, and reads again.
 */
#include "hub/hub.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"

enum { DEBOUNCE_MS = 200, DEPTH_MAX = 8 };

struct ln_watch {
    struct ln_hub *hub;
    int fd;
    int64_t touched_us; /* when a file of the site was last written to */
    struct event ev, timer;
};

static bool is_hidden(const char *name)
{
    return name[0] == '.';
}

static void add(struct ln_watch *w, const char *path, int depth)
{
    const uint32_t mask = IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE |
                          IN_CREATE | IN_ONLYDIR | IN_EXCL_UNLINK;
    char child[4096];
    struct stat st;
    struct dirent *e;
    if (depth > DEPTH_MAX || inotify_add_watch(w->fd, path, mask) < 0)
        return;
    DIR *d = opendir(path);
    while (d && (e = readdir(d)))
        if (!is_hidden(e->d_name) &&
            snprintf(child, sizeof child, "%s/%s", path, e->d_name) < (int)sizeof child &&
            stat(child, &st) == 0 && S_ISDIR(st.st_mode))
            add(w, child, depth + 1);
    if (d)
        closedir(d);
}

static void add_all(struct ln_watch *w)
{
    static const char *const folders[] = {"channels", "lib", "tables"};
    char path[4096];
    const uint32_t mask =
        IN_MODIFY | IN_CLOSE_WRITE | IN_MOVED_TO | IN_DELETE | IN_MOVED_FROM | IN_CREATE;
    if (inotify_add_watch(w->fd, w->hub->site, mask) < 0) /* lunate.lua, and folders that come */
        ln_log(LN_ERROR, "watch", "cannot_watch", "why=\"%s\"", strerror(errno));
    for (size_t i = 0; i < sizeof folders / sizeof folders[0]; i++) {
        snprintf(path, sizeof path, "%s/%s", w->hub->site, folders[i]);
        add(w, path, 1);
    }
}

static bool matters(const struct inotify_event *e)
{
    size_t n = e->len ? strlen(e->name) : 0;
    if (n == 0 || is_hidden(e->name))
        return false;
    if (e->mask & IN_ISDIR)
        return strcmp(e->name, "data") != 0;
    if (e->mask & IN_CREATE)
        return false; /* it is still empty; its end of writing comes */
    return n > 4 && (strcmp(e->name + n - 4, ".lua") == 0 || strcmp(e->name + n - 4, ".csv") == 0);
}

static void on_event(evutil_socket_t fd, short what, void *arg)
{
    struct ln_watch *w = arg;
    _Alignas(struct inotify_event) char buf[16384];
    struct timeval tv = {0, DEBOUNCE_MS * 1000};
    ssize_t n;
    (void)what;
    while ((n = read(fd, buf, sizeof buf)) > 0)
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *e = (const void *)(buf + at);
            at += (ssize_t)(sizeof *e + e->len);
            if (!matters(e) && !(e->mask & IN_Q_OVERFLOW))
                continue;
            w->touched_us = ln_mono_us();
            if (!(e->mask & IN_MODIFY)) /* the end of writing comes */
                evtimer_add(&w->timer, &tv);
        }
}

bool ln_watch_touched(struct ln_hub *h, int64_t since_us)
{
    if (!h->watch)
        return false;
    on_event(h->watch->fd, 0, h->watch); /* what has come and was not read yet */
    return h->watch->touched_us >= since_us;
}

static void on_quiet(evutil_socket_t fd, short what, void *arg)
{
    struct ln_watch *w = arg;
    (void)fd;
    (void)what;
    add_all(w); /* known folders stay, new ones come */
    ln_log(LN_INFO, "watch", "changed", "reload=1");
    ln_hub_reload(w->hub);
}

void ln_watch_set(struct ln_hub *h, bool on)
{
    struct ln_watch *w = h->watch;
    if (on == (w != NULL))
        return;
    if (!on) {
        event_del(&w->ev);
        evtimer_del(&w->timer);
        close(w->fd);
        free(w);
        h->watch = NULL;
        return;
    }
    w = calloc(1, sizeof *w);
    if (!w || (w->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC)) < 0) {
        ln_log(LN_ERROR, "watch", "cannot_watch", "why=\"%s\"", strerror(errno));
        free(w);
        return;
    }
    w->hub = h;
    h->watch = w;
    event_assign(&w->ev, h->base, w->fd, EV_READ | EV_PERSIST, on_event, w);
    event_add(&w->ev, NULL);
    evtimer_assign(&w->timer, h->base, on_quiet, w);
    add_all(w);
    ln_log(LN_INFO, "watch", "on", "debounce_ms=%d", DEBOUNCE_MS);
}
