/* Script versions: what runs is kept in the store, and pins, which make a channel run one of those.
 *
 * A pin stands when the worker that runs its version is ready (or at once, when the channel is
 * stopped), and goes when one that came from the files on disk is: what is refused changes
 * nothing. */
#include "hub/version.h"

#include <stdio.h>

#include "base/clock.h"
#include "hub/job.h"

/* ---- keeping ------------------------------------------------------------------------------- */

static const int64_t AGAIN_FIRST_US = 2 * 1000000LL, AGAIN_MAX_US = 600 * 1000000LL;

static int keep(struct ln_channel *c, bool all);

/* The store has no room: messages go on, and the version is put again later. */
static void not_kept(struct ln_channel *c, int code)
{
    if (!c->version_wait_us)
        ln_log(LN_ERROR, "version", "not_kept", "channel=%s script=%.6s why=\"%s\"", c->name,
               c->conf->version, ln_strerror(code));
    c->version_wait_us = c->version_wait_us ? 2 * c->version_wait_us : AGAIN_FIRST_US;
    if (c->version_wait_us > AGAIN_MAX_US)
        c->version_wait_us = AGAIN_MAX_US;
    c->version_again_us = ln_mono_us() + c->version_wait_us;
    c->version_kept = 0;
}

static void on_kept(void *arg, int code, uint64_t seq)
{
    struct ln_channel *c = arg;
    (void)seq;
    const struct ln_conf_channel *conf = c->conf;
    for (unsigned i = 0; conf && code != LN_ECLOSED && i < conf->nfile; i++) {
        struct ln_content *f = conf->file[i].content;
        f->given = f->given && code == LN_OK;
        if (code == LN_OK && !f->wanted)
            ln_buf_fini(&f->packed);
    }
    if (code == LN_ENOTFOUND && !c->version_all)
        (void)!keep(c, true);
    else if (code == LN_OK)
        c->version_wait_us = c->version_again_us = 0;
    else if (code != LN_ECLOSED)
        not_kept(c, code);
}

void ln_version_tick(struct ln_hub *h, int64_t mono_us)
{
    struct ln_channel *c;
    LIST_FOREACH (c, &h->channels, link) {
        if (!c->version_again_us || mono_us < c->version_again_us || !c->conf || c->prev)
            continue;
        c->version_again_us = 0;
        ln_version_runs(c);
    }
}

static void from_hex(const char *hex, uint8_t *out)
{
    for (unsigned i = 0; i < LN_VERSION_HASH; i++) {
        unsigned v = 0;
        (void)!sscanf(hex + (size_t)2 * i, "%2x", &v);
        out[i] = (uint8_t)v;
    }
}

/* Whether the store is known to have it, or was given it: what it is given comes to it in order.
 * Within a read transaction. */
static bool has(struct ln_hub *h, const struct ln_content *f)
{
    return f->given || ln_read_version_has(h->reader, f->hash);
}

/* Lists what the store is to get with these versions, and marks it; how many there are. NULL, 0:
 * nothing, or no memory for that (keep() sees to it). Free the list. */
static struct ln_content **list_wanted(struct ln_hub *h, const struct ln_conf *conf,
                                       const char *only, unsigned *n)
{
    struct ln_content **list = NULL;
    *n = 0;
    for (unsigned i = 0; i < conf->nchannel; i++)
        for (unsigned k = 0; k < conf->channel[i].nfile; k++)
            conf->channel[i].file[k].content->mark = 0;
    if (ln_reader_begin(h->reader) != LN_OK)
        return NULL;
    for (unsigned i = 0; i < conf->nchannel; i++) {
        const struct ln_conf_channel *ch = &conf->channel[i];
        if (ch->error || (only && strcmp(ch->name, only) != 0))
            continue;
        for (unsigned k = 0; k < ch->nfile; k++) {
            struct ln_content *f = ch->file[k].content;
            if (f->mark++ || f->packed.len || has(h, f))
                continue;
            struct ln_content **more = realloc(list, (*n + 1) * sizeof *list);
            if (!more)
                break;
            list = more;
            list[(*n)++] = f;
        }
    }
    ln_reader_end(h->reader);
    return list;
}

struct packing {
    struct ln_content **list;
    unsigned n;
    void (*done)(void *);
    void *arg;
};

static void pack_all(void *arg)
{
    struct packing *p = arg;
    for (unsigned i = 0; i < p->n; i++)
        (void)!ln_content_pack(p->list[i]); /* keep() tries again, and tells */
}

static void on_packed(void *arg)
{
    struct packing *p = arg;
    void (*done)(void *) = p->done;
    void *owner = p->arg;
    for (unsigned i = 0; i < p->n; i++) {
        p->list[i]->wanted = false;
        ln_content_unref(p->list[i]);
    }
    free(p->list);
    free(p);
    done(owner);
}

void ln_version_make_ready(struct ln_hub *h, const struct ln_conf *conf, const char *only,
                           void (*done)(void *), void *arg)
{
    struct packing *p = calloc(1, sizeof *p);
    if (p) {
        *p = (struct packing){.done = done, .arg = arg};
        p->list = list_wanted(h, conf, only, &p->n);
    }
    if (!p || p->n == 0) {
        free(p);
        done(arg);
        return;
    }
    for (unsigned i = 0; i < p->n; i++) {
        p->list[i]->wanted = true;
        ln_content_ref(p->list[i]);
    }
    if (ln_job_start(h->base, pack_all, on_packed, p) == LN_OK)
        return;
    pack_all(p);
    on_packed(p);
}

/* What the store does not have goes along. LN_EAGAIN: that is being compressed. Here it is only
 * when the store has dropped a file since ln_version_make_ready looked. */
static int fill_files(struct ln_channel *c, struct ln_version_file *f, bool all)
{
    const struct ln_conf_channel *conf = c->conf;
    struct ln_hub *h = c->hub;
    bool reading = !all && ln_reader_begin(h->reader) == LN_OK;
    int rc = LN_OK;
    for (unsigned i = 0; i < conf->nfile && rc == LN_OK; i++) {
        struct ln_content *content = conf->file[i].content;
        memcpy(f[i].hash, content->hash, LN_VERSION_HASH);
        f[i].path = ln_span_str(conf->file[i].path);
        f[i].len = content->len;
        if (content->given || (reading && has(h, content)))
            continue;
        rc = content->wanted ? LN_EAGAIN : ln_content_pack(content);
        if (rc == LN_OK)
            f[i].packed = ln_buf_span(&content->packed);
    }
    if (reading)
        ln_reader_end(h->reader);
    return rc;
}

/* They are on their way: others with the same files need not bring them. */
static void note_given(const struct ln_conf_channel *conf, const struct ln_version_file *f)
{
    for (unsigned i = 0; i < conf->nfile; i++)
        conf->file[i].content->given |= f[i].packed.ptr != NULL;
}

static int keep(struct ln_channel *c, bool all)
{
    const struct ln_conf_channel *conf = c->conf;
    struct ln_version v = {.id = conf->version64, .nfile = conf->nfile};
    struct ln_version_file *f = calloc(conf->nfile + 1u, sizeof *f);
    c->version_all = all;
    int rc = f ? fill_files(c, f, all) : LN_ENOMEM;
    if (rc == LN_OK) {
        v.file = f;
        v.first_us = v.last_us = ln_now_us();
        from_hex(conf->version, v.hash);
        ln_git_of(c->hub, conf, v.git, sizeof v.git, &v.dirty);
        rc = ln_store_version(c->hub->store, c->id, &v, on_kept, c);
        if (rc == LN_OK)
            note_given(conf, f);
    }
    free(f);
    if (rc == LN_EAGAIN) {
        c->version_again_us = ln_mono_us();
        c->version_kept = 0;
    } else if (rc != LN_OK) {
        not_kept(c, rc);
    }
    return rc;
}

/* Whether the store says already that this is what runs. */
static bool is_kept(struct ln_channel *c)
{
    struct ln_version_now now;
    struct ln_version v;
    if (ln_reader_begin(c->hub->reader) != LN_OK)
        return false;
    bool is = ln_read_version_now(c->hub->reader, c->id, &now) == LN_OK &&
              now.id == c->conf->version64 &&
              ln_read_version(c->hub->reader, c->id, now.id, &v) == LN_OK;
    ln_reader_end(c->hub->reader);
    return is;
}

static void on_pinned(void *arg, int code, uint64_t seq)
{
    struct ln_channel *c = arg;
    (void)seq;
    c->pinning--;
    if (code != LN_OK && code != LN_ECLOSED)
        ln_log(LN_ERROR, "version", "rollback_not_kept", "channel=%s why=\"%s\"", c->name,
               ln_strerror(code));
}

/* The store's list of pins follows the configuration that has proved itself. */
static void adopt_pin(struct ln_channel *c)
{
    struct ln_hub *h = c->hub;
    struct ln_pin *is = ln_pin_find(&h->pins, c->name), *to = c->conf->pin;
    struct ln_version_now now = {0};
    if (is == to)
        return;
    if (to) {
        LIST_INSERT_HEAD(&h->pins, ln_pin_ref(to), link);
        now = (struct ln_version_now){.pin = to->id,
                                      .pin_from = to->from,
                                      .pin_us = to->since_us,
                                      .reason = ln_span_str(to->reason)};
    }
    if (is) {
        LIST_REMOVE(is, link);
        ln_pin_unref(is);
    }
    if (ln_store_pin(h->store, c->id, &now, on_pinned, c) == LN_OK)
        c->pinning++;
    else
        ln_log(LN_ERROR, "version", "rollback_not_kept", "channel=%s", c->name);
    ln_log(LN_WARN, "version", to ? "rolled_back" : "rollback_ended", "channel=%s script=%.6s",
           c->name, c->conf->version);
}

void ln_version_runs(struct ln_channel *c)
{
    if (c->version_kept != c->conf->version64) {
        c->version_kept = c->conf->version64;
        if (!is_kept(c))
            (void)!keep(c, false);
    }
    adopt_pin(c);
}

/* git has answered: versions that came with a load since are told which commit they are. */
void ln_version_git_known(struct ln_hub *h)
{
    struct ln_channel *c;
    struct ln_version v;
    char commit[65];
    bool dirty;
    LIST_FOREACH (c, &h->channels, link) {
        if (!c->id || !c->conf || c->version_kept != c->conf->version64 ||
            !ln_git_of(h, c->conf, commit, sizeof commit, &dirty) ||
            ln_reader_begin(h->reader) != LN_OK)
            continue;
        int rc = ln_read_version(h->reader, c->id, c->conf->version64, &v);
        bool better = rc != LN_OK || !v.git[0] || (v.dirty && !dirty);
        ln_reader_end(h->reader);
        if (better)
            (void)!keep(c, false);
    }
}

/* ---- pins ---------------------------------------------------------------------------------- */

static void break_pin(struct ln_pin *p, const char *why)
{
    ln_conf_files_free(p->file, p->nfile);
    p->file = NULL;
    p->nfile = 0;
    snprintf(p->broken, sizeof p->broken, "%s", why);
}

/* Copies the files of version p->id; within a read transaction. */
static int fill(struct ln_reader *r, uint32_t chan, struct ln_pin *p)
{
    struct ln_version v;
    int rc = ln_read_version(r, chan, p->id, &v);
    for (unsigned i = 0; rc == LN_OK && i < LN_VERSION_HASH; i++)
        snprintf(p->version + (size_t)2 * i, 3, "%02x", v.hash[i]);
    for (uint32_t i = 0; rc == LN_OK && i < v.nfile; i++) {
        struct ln_content *is = ln_content_find(v.file[i].hash);
        struct ln_span bytes;
        if (!is)
            rc = ln_read_version_file(r, v.file[i].hash, &bytes);
        if (rc == LN_OK)
            rc = ln_pin_add(p, v.file[i].path, is ? ln_content_ref(is) : ln_content_new(bytes));
    }
    return rc;
}

/* Pins have most of their files in common, as a rule. */
static int share_files(struct ln_pin *p)
{
    int rc = LN_OK;
    for (unsigned i = 0; i < p->nfile && rc == LN_OK; i++) {
        rc = ln_content_hash(p->file[i].content);
        if (rc == LN_OK)
            p->file[i].content = ln_content_share(p->file[i].content);
    }
    return rc;
}

int ln_version_pins_read(struct ln_hub *h)
{
    struct ln_reader *r = h->reader;
    struct ln_channel_state cs;
    struct ln_version_now now;
    int n = 0;
    if (ln_reader_begin(r) != LN_OK)
        return 0;
    for (uint32_t id = 0; ln_read_next_channel(r, id, &cs) == LN_OK; id = cs.id) {
        if (ln_read_version_now(r, cs.id, &now) != LN_OK || now.pin == 0)
            continue;
        struct ln_pin *p = ln_pin_new(cs.name);
        if (!p)
            break;
        p->id = now.pin;
        p->from = now.pin_from;
        p->since_us = now.pin_us;
        snprintf(p->version, sizeof p->version, "%016llx", (unsigned long long)p->id);
        snprintf(p->reason, sizeof p->reason, "%.*s",
                 (int)(now.reason.len < sizeof p->reason ? now.reason.len : sizeof p->reason - 1),
                 now.reason.len ? now.reason.ptr : "");
        int rc = fill(r, cs.id, p);
        if (rc == LN_OK)
            rc = share_files(p);
        if (rc != LN_OK)
            break_pin(p, ln_strerror(rc));
        LIST_INSERT_HEAD(&h->pins, p, link);
        n++;
    }
    ln_reader_end(r);
    return n;
}
