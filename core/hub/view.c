/* Views for others than the owner: a process of its own for each, which reads the store, writes the
 * audit log, and talks to the client over the client's own connection. The hub is out of it as soon
 * as it is started: who reads slowly, or searches for hours, costs it nothing. */
#include "hub/view.h"

#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

#include "hub/spawn.h"
#include "ipc/proto.h"

enum { VIEWS_MAX = 16 };

static pid_t running[VIEWS_MAX];

void ln_view_exited(pid_t pid)
{
    for (int i = 0; i < VIEWS_MAX; i++)
        if (running[i] == pid)
            running[i] = 0;
}

const struct ln_right *ln_view_right(struct ln_asker *k)
{
    const struct ln_right *r = ln_right_of(k->word[3]);
    if (!r || !(r->flags & LN_RIGHT_VIEW)) {
        ln_asker_fail(k, 1, "%.40s is not for others than the site's owner", k->word[3]);
        return NULL;
    }
    k->gate.own = *r;
    k->gate.own.flags &= (uint8_t) ~(LN_RIGHT_RECORDED | LN_RIGHT_STRICT);
    return &k->gate.own;
}

/* What the process has to know: see core/role/view.c. */
static void describe(struct ln_asker *k, struct ln_buf *b)
{
    const struct ln_gate *g = &k->gate;
    struct ln_hub *h = k->hub;
    struct ln_channel *c;
    uint32_t n = 0;
    LIST_FOREACH (c, &h->channels, link)
        n++;
    ln_wire_bytes(b, ln_span_str(h->data));
    ln_wire_u64(b, (uint64_t)g->peer.uid);
    ln_wire_u32(b, (uint32_t)g->peer.pid);
    ln_wire_bytes(b, ln_span_str(g->who.user));
    ln_wire_bytes(b, ln_span_str(g->who.role));
    ln_wire_u8(b, (uint8_t)ln_access_role(&h->access, &g->peer, "*"));
    ln_wire_u32(b, n);
    LIST_FOREACH (c, &h->channels, link) {
        ln_wire_bytes(b, ln_span_str(c->name));
        ln_wire_u8(b, (uint8_t)ln_access_role(&h->access, &g->peer, c->name));
    }
    ln_wire_u32(b, k->nword - 1);
    for (unsigned i = 1; i < k->nword; i++)
        ln_wire_bytes(b, ln_span_str(k->word[i]));
}

/* The words may name a patient: not in arguments, which ps shows. */
static int in_memory(const struct ln_buf *b)
{
    int fd = memfd_create("view", MFD_CLOEXEC);
    if (fd >= 0 && (write(fd, b->data, b->len) != (ssize_t)b->len || lseek(fd, 0, SEEK_SET) != 0)) {
        close(fd);
        fd = -1;
    }
    return fd;
}

static int start(const char *site, int client, int params, pid_t *pid)
{
    const char *argv[] = {"lunate", "-C", site, "view", NULL};
    const int fds[] = {LN_SPAWN_NULL, LN_SPAWN_NULL, LN_SPAWN_KEEP, client, params};
    return ln_spawn(LN_SPAWN_SELF, argv, fds, 5, pid, NULL);
}

void ln_verb_view(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_buf b = {0};
    int slot = 0, params = -1;
    (void)word;
    (void)n;
    while (slot < VIEWS_MAX && running[slot])
        slot++;
    if (slot == VIEWS_MAX) {
        ln_asker_fail(k, 1, "too many views at once: try again in a moment");
        return;
    }
    describe(k, &b);
    params = b.failed ? -1 : in_memory(&b);
    ln_buf_fini(&b);
    if (params < 0 || start(k->hub->site, k->stream.fd, params, &running[slot]) != LN_OK)
        ln_asker_fail(k, 1, "the view cannot be started: out of processes or memory");
    else
        ln_asker_leave(k); /* the connection is the process's now */
    if (params >= 0)
        close(params);
}
