/* The control socket: the command line asks, the hub answers with JSON or a one-line error. */
#include "hub/control.h"

#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"
#include "hub/view.h"

enum { REQUEST_MAX = 64 << 20, CLIENTS_MAX = 256 };
/* Of the socket for others: none of them may keep the owner out. */
enum { OUTSIDE_MAX = 128, OUTSIDE_UID_MAX = 8, OUTSIDE_REQUEST_MAX = 8 << 20 };

static unsigned clients, strangers;
static struct ln_asker *stranger[OUTSIDE_MAX];

static void client_free(struct ln_asker *k);

void ln_asker_leave(struct ln_asker *k)
{
    client_free(k); /* it is held by whoever called */
}

static void drop_words(struct ln_asker *k)
{
    for (unsigned i = 0; i < LN_ASK_WORDS; i++) {
        free(k->word[i]);
        k->word[i] = NULL;
    }
}

static void client_free(struct ln_asker *k)
{
    ln_stream_fini(&k->stream);
    evtimer_del(&k->again);
    k->gone = true;
    if (k->waiting)
        return;
    ln_buf_fini(&k->in);
    drop_words(k);
    for (unsigned i = 0; k->outside && i < strangers; i++)
        if (stranger[i] == k)
            stranger[i] = stranger[--strangers];
    clients -= !k->outside;
    free(k);
}

void ln_asker_hold(struct ln_asker *k)
{
    k->waiting++;
}

void ln_asker_let_go(struct ln_asker *k)
{
    k->waiting--;
    if (k->gone)
        client_free(k);
}

static void verb_status(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_buf b = {0};
    (void)word;
    (void)n;
    ln_status_json(k->hub, &b);
    ln_asker_reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

static void verb_metrics(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_buf b = {0};
    (void)word;
    (void)n;
    ln_metrics(k->hub, LN_METRICS_OPEN, &b);
    ln_asker_reply(k, 0, ln_buf_span(&b));
    ln_buf_fini(&b);
}

static void verb_version(struct ln_asker *k, char **word, unsigned n)
{
    (void)word;
    (void)n;
    ln_asker_done(k, "version", LN_VERSION);
}

/* seq: word 2 is a message's number. reason: which word it is; 0: none. */
static const struct {
    const char *name;
    unsigned least, most; /* words, with the verb */
    ln_verb_fn *fn;
    unsigned reason;
    bool seq;
} verbs[] = {
    {"status", 1, 1, verb_status, 0, false},
    {"metrics", 1, 1, verb_metrics, 0, false},
    {"version", 1, 1, verb_version, 0, false},
    {"start", 2, 2, ln_verb_mode, 0, false},
    {"stop", 2, 3, ln_verb_halt, 0, false},
    {"pause", 2, 2, ln_verb_mode, 0, false},
    {"resume", 2, 2, ln_verb_mode, 0, false},
    {"drain", 2, 3, ln_verb_halt, 0, false},
    {"settle", 4, 4, ln_verb_settle, 3, true},
    {"edit", 5, 6, ln_verb_edit, 0, true},
    {"hold", 2, 2, ln_verb_dest, 0, false},
    {"release", 2, 2, ln_verb_dest, 0, false},
    {"step", 2, 3, ln_verb_step, 0, false},
    {"skip", 3, 4, ln_verb_skip, 2, false},
    {"head", 2, 2, ln_verb_head, 0, false},
    {"resend", 7, 7, ln_verb_resend, 0, true},
    {"reposition", 7, 7, ln_verb_reposition, 6, false},
    {"reload", 1, 3, ln_verb_reload, 0, false},
    {"rollback", 4, 4, ln_verb_rollback, 3, false},
    {"alerts", 2, 7, ln_verb_alerts, 0, false},
    {"view", 4, LN_ASK_WORDS, ln_verb_view, 0, false},
    {"key", 2, 2, ln_verb_key, 0, false},
};

const char *ln_control_verb(unsigned i)
{
    return i < sizeof verbs / sizeof *verbs ? verbs[i].name : NULL;
}

/* ---- requests -------------------------------------------------------------------------------- */

static void go(struct ln_asker *k)
{
    verbs[k->verb].fn(k, k->word, k->nword);
}

/* What the entry says of it. Words of `edit` are content: none of them. */
static void describe(const struct ln_asker *k, char *object, size_t ocap, char *text, size_t tcap)
{
    const char *const *word = (const char *const *)k->word;
    unsigned reason = verbs[k->verb].reason;
    object[0] = text[0] = '\0';
    if (strcmp(word[0], "view") == 0) /* its words are of a terminal, and may name a patient */
        return;
    if (k->nword > 1)
        snprintf(object, ocap, "%.90s%s%.20s", word[1], verbs[k->verb].seq ? "/" : "",
                 verbs[k->verb].seq ? word[2] : "");
    if (strcmp(word[0], "resend") == 0)
        snprintf(text, tcap, "%s%.64s%s", word[3][0] ? "to " : "", word[3],
                 strcmp(word[4], "1") == 0 ? " reprocess" : "");
    else if (!verbs[k->verb].seq)
        for (unsigned i = 2; i < k->nword; i++) {
            size_t at = strlen(text);
            if (i != reason)
                snprintf(text + at, tcap - at, "%s%.40s", at ? " " : "", word[i]);
        }
}

/* The channel that a request concerns: NULL any, "*" all. */
static const char *concerns(const struct ln_asker *k, const struct ln_right *right, char *name,
                            size_t cap)
{
    if (right->flags & LN_RIGHT_SITE)
        return "*";
    if (!(right->flags & LN_RIGHT_RECORDED) && strcmp(right->verb, "head") != 0)
        return NULL;
    if (k->nword < 2 || !k->word[1][0])
        return "*";
    snprintf(name, cap, "%.*s", (int)strcspn(k->word[1], "/"), k->word[1]);
    return strchr(name, '*') ? "*" : name;
}

static void pass(struct ln_asker *k)
{
    char object[120], text[300], name[80];
    const struct ln_right *right = ln_right_of(k->word[0]);
    if (strcmp(k->word[0], "alerts") == 0 && strcmp(k->word[1], "list") == 0)
        right = ln_right_of("status"); /* the same to whoever looks, and as often asked */
    unsigned reason = verbs[k->verb].reason;
    if (right && strcmp(right->verb, "view") == 0 && !(right = ln_view_right(k)))
        return;
    if (!right) { /* a verb that nobody was given a right to: tests/audit/access_spec.lua */
        ln_asker_fail(k, 1, "%s: no role may do that", k->word[0]);
        return;
    }
    describe(k, object, sizeof object, text, sizeof text);
    ln_gate_pass(k, right, concerns(k, right, name, sizeof name), object, text,
                 reason ? k->word[reason] : NULL, go);
}

static void request(struct ln_asker *k, struct ln_wire_in *in)
{
    unsigned n = ln_wire_get_u32(in), v = 0, count = sizeof verbs / sizeof verbs[0];
    bool ok = n >= 1 && n <= LN_ASK_WORDS;
    drop_words(k);
    for (unsigned i = 0; ok && i < n; i++) {
        struct ln_span s = ln_wire_get_bytes(in);
        k->word[i] = ln_span_dup(s);
        ok = k->word[i] && !in->bad && strlen(k->word[i]) == s.len;
    }
    k->nword = n;
    k->busy = true;
    if (!ok || !ln_wire_done(in)) {
        ln_asker_fail(k, 2, "not a request");
        return;
    }
    while (v < count && strcmp(verbs[v].name, k->word[0]) != 0)
        v++;
    k->verb = v;
    if (v == count)
        ln_asker_fail(k, 2, "the engine knows no verb %.40s: is it of another version?",
                      k->word[0]);
    else if (n < verbs[v].least || n > verbs[v].most)
        ln_asker_fail(k, 2, "%s: wrong number of words", k->word[0]);
    else
        pass(k);
}

/* Takes what has come, a request at a time; k may be freed when it returns false. */
static bool pump(struct ln_asker *k)
{
    size_t used, most = k->outside ? OUTSIDE_REQUEST_MAX : REQUEST_MAX;
    bool good = true;
    k->pumping = true;
    ln_asker_hold(k);
    while (good && !k->busy && !k->gone) {
        struct ln_wire_in in;
        uint8_t type;
        int rc = ln_wire_next(k->in.data, k->in.len, most, &type, &in, &used);
        if (rc == LN_EAGAIN)
            break;
        good = rc == LN_OK && (type == LN_P_REQUEST || type == LN_P_CONTEXT);
        if (good && type == LN_P_REQUEST)
            request(k, &in);
        else if (good)
            good = ln_gate_context(k, &in);
        if (good)
            ln_buf_drop(&k->in, used);
    }
    k->pumping = false;
    if (k->busy && !k->gone)
        ln_stream_pause(&k->stream);
    k->waiting--;
    if (!good || k->gone)
        client_free(k);
    return good;
}

static void on_again(evutil_socket_t fd, short what, void *arg)
{
    struct ln_asker *k = arg;
    (void)fd;
    (void)what;
    ln_stream_resume(&k->stream);
    pump(k);
}

static void on_data(void *owner, const char *data, size_t len)
{
    struct ln_asker *k = owner;
    if (ln_buf_add(&k->in, data, len) != LN_OK)
        client_free(k);
    else
        pump(k);
}

static void on_closed(void *owner, int code, const char *why)
{
    struct ln_asker *k = owner;
    (void)code;
    (void)why;
    client_free(k);
}

static const struct ln_stream_ops client_ops = {.data = on_data, .closed = on_closed};

static void take_client(struct ln_hub *h, int fd, bool outside)
{
    bool room = outside ? strangers < OUTSIDE_MAX : clients < CLIENTS_MAX;
    struct ln_asker *k = room ? calloc(1, sizeof *k) : NULL;
    if (!k) {
        evutil_closesocket(fd);
        return;
    }
    k->hub = h;
    k->outside = outside;
    if (outside)
        stranger[strangers++] = k;
    else
        clients++;
    evtimer_assign(&k->again, h->base, on_again, k);
    if (ln_stream_init(&k->stream, h->base, fd, &client_ops, k) != LN_OK) {
        client_free(k);
        return;
    }
    ln_gate_open(k);
    unsigned same = 0;
    for (unsigned i = 0; outside && i < strangers; i++)
        same += stranger[i]->gate.peer.uid == k->gate.peer.uid;
    if (same > OUTSIDE_UID_MAX && !k->gate.peer.owner)
        client_free(k);
}

static void on_accept(void *owner, int fd, const char *peer)
{
    (void)peer;
    take_client(owner, fd, false);
}

static void on_accept_outside(void *owner, int fd, const char *peer)
{
    (void)peer;
    take_client(owner, fd, true);
}

int ln_control_open(struct ln_hub *h, struct ln_err *err)
{
    return ln_listen_unix(h->base, h->data, "control.sock", on_accept, h, &h->control, err);
}

static void close_outside(struct ln_hub *h)
{
    char path[4096];
    if (!h->outside)
        return;
    ln_listener_free(h->outside);
    h->outside = NULL;
    snprintf(path, sizeof path, "%s/control.sock", h->outside_dir);
    unlink(path);
    free(h->outside_dir);
    h->outside_dir = NULL;
}

/* Anybody may connect there; what they may do, the gate decides by who they are. */
static int open_outside(struct ln_hub *h, const char *dir, struct ln_err *err)
{
    char path[4200];
    if (mkdir(dir, 0755) == 0)
        (void)!chmod(dir, 0755); /* whatever the umask */
    else if (errno != EEXIST)
        return ln_err_set(err, LN_EIO, "%s: %s", dir, strerror(errno));
    snprintf(path, sizeof path, "%s/control.sock", dir);
    int rc = ln_listen_unix(h->base, dir, "control.sock", on_accept_outside, h, &h->outside, err);
    if (rc == LN_OK && chmod(path, 0666) != 0) {
        rc = ln_err_set(err, LN_EIO, "%s: %s", path, strerror(errno));
        ln_listener_free(h->outside);
        h->outside = NULL;
    }
    return rc;
}

void ln_control_outside(struct ln_hub *h)
{
    struct ln_err err = {0};
    char dir[4096];
    const char *want = h->access.socket;
    snprintf(dir, sizeof dir, "%s%s%s", want && want[0] == '/' ? "" : h->site,
             want && want[0] == '/' ? "" : "/", want ? want : "");
    if (h->outside && want && strcmp(dir, h->outside_dir) == 0)
        return;
    close_outside(h);
    if (!want)
        return;
    if (open_outside(h, dir, &err) != LN_OK || !(h->outside_dir = strdup(dir)))
        ln_log(LN_ERROR, "control", "outside_failed", "why=\"%s\"", err.text);
}

void ln_control_close(struct ln_hub *h)
{
    ln_listener_free(h->control);
    h->control = NULL;
    close_outside(h);
}
