/* Which version a channel is rolled back to, and its files. These are read and decompressed in a
 * thread: a table may have 64 MB, and no sender waits for that. */
#include <stdio.h>

#include "base/clock.h"
#include "hub/job.h"
#include "hub/version.h"

/* ---- which ----------------------------------------------------------------------------------- */

/* Whether it has handled a message of those that are kept. Within a read transaction. */
static bool has_run(struct ln_reader *r, uint32_t chan, uint64_t id)
{
    struct ln_version_run run;
    for (uint64_t seq = 0; ln_read_next_run(r, chan, &seq, &run) == LN_OK;)
        if (run.id == id && run.messages)
            return true;
    return false;
}

/* Whether v is of the very files that run: numbered formerly, that is. */
static bool same_files(const struct ln_channel *c, const struct ln_version *v)
{
    const struct ln_conf_channel *conf = c->failed ? NULL : c->conf;
    bool same = conf && conf->nfile == v->nfile;
    for (uint32_t i = 0; same && i < v->nfile; i++)
        same = ln_span_is(v->file[i].path, conf->file[i].path) &&
               memcmp(v->file[i].hash, conf->file[i].content->hash, LN_VERSION_HASH) == 0;
    return same;
}

/* The version that `word` begins; "" the one that ran before, of those that have handled a message
 * when there are such: what was swapped in while the channel was stopped may never have run. 0: err
 * says why not. Within a read transaction. */
static uint64_t find(struct ln_channel *c, uint32_t chan, uint64_t present, const char *word,
                     struct ln_err *err)
{
    struct ln_version v;
    uint64_t id = 0, found = 0;
    int64_t newest = 0;
    unsigned hits = 0;
    bool proved = false;
    size_t n = strlen(word);
    while (ln_read_next_version(c->hub->reader, chan, &id, &v) == LN_OK) {
        char hex[17];
        snprintf(hex, sizeof hex, "%016llx", (unsigned long long)v.id);
        bool ran = !n && v.id != present && has_run(c->hub->reader, chan, v.id);
        bool passed = n ? strncmp(hex, word, n < 16 ? n : 16) != 0
                        : v.id == present || ran < proved ||
                              (ran == proved && v.last_us <= newest) || same_files(c, &v);
        if (passed)
            continue;
        proved = ran;
        newest = v.last_us;
        found = v.id;
        hits++;
    }
    if (n && hits > 1)
        ln_err_set(err, LN_EINVAL, "%s: %u kept versions of %s begin with %.64s: give more of it",
                   c->name, hits, c->name, word);
    else if (n && !hits)
        ln_err_set(err, LN_ENOTFOUND, "%s: no kept version begins with %.64s: lunate versions %s",
                   c->name, word, c->name);
    else if (!hits)
        ln_err_set(err, LN_ENOTFOUND, "%s: no version but the present one is kept", c->name);
    return n && hits > 1 ? 0 : found;
}

/* ---- its files ------------------------------------------------------------------------------- */

struct fetched {
    char *path;
    uint8_t hash[LN_VERSION_HASH];
    struct ln_content *content; /* NULL: the thread reads it */
};

struct fetch {
    struct ln_hub *hub;
    struct ln_reader *reader; /* the thread's own */
    struct ln_pin *pin;
    struct fetched *file;
    unsigned nfile;
    int code;
    ln_version_pin_fn *done;
    void *arg;
};

static void fetch_free(struct fetch *f)
{
    for (unsigned i = 0; i < f->nfile; i++) {
        free(f->file[i].path);
        ln_content_unref(f->file[i].content);
    }
    free(f->file);
    ln_reader_close(f->reader);
    ln_pin_unref(f->pin);
    free(f);
}

/* Lists the files of the pin's version; those that are in memory need not be read. Within a read
 * transaction of the hub's. */
static int list_files(struct fetch *f, uint32_t chan)
{
    struct ln_version v;
    struct ln_pin *p = f->pin;
    int rc = ln_read_version(f->hub->reader, chan, p->id, &v);
    if (rc != LN_OK)
        return rc;
    if (!(f->file = calloc(v.nfile + 1u, sizeof *f->file)))
        return LN_ENOMEM;
    for (unsigned i = 0; i < LN_VERSION_HASH; i++)
        snprintf(p->version + (size_t)2 * i, 3, "%02x", v.hash[i]);
    for (uint32_t i = 0; i < v.nfile; i++) {
        struct fetched *to = &f->file[f->nfile++];
        struct ln_content *is = ln_content_find(v.file[i].hash);
        memcpy(to->hash, v.file[i].hash, LN_VERSION_HASH);
        to->content = is ? ln_content_ref(is) : NULL;
        if (!(to->path = ln_span_dup(v.file[i].path)))
            return LN_ENOMEM;
    }
    return LN_OK;
}

/* In the thread. What it makes nobody else has yet. */
static void read_files(void *arg)
{
    struct fetch *f = arg;
    struct ln_span bytes;
    for (unsigned i = 0; i < f->nfile && f->code == LN_OK; i++) {
        struct fetched *to = &f->file[i];
        if (to->content)
            continue;
        if ((f->code = ln_reader_begin(f->reader)) != LN_OK)
            break;
        f->code = ln_read_version_file(f->reader, to->hash, &bytes);
        if (f->code == LN_OK && !(to->content = ln_content_new(bytes)))
            f->code = LN_ENOMEM;
        ln_reader_end(f->reader);
    }
}

static void on_read(void *arg)
{
    struct fetch *f = arg;
    struct ln_pin *p = f->pin, *is = ln_pin_find(&f->hub->pins, p->channel);
    struct ln_channel *c = ln_channel_find(f->hub, p->channel);
    struct ln_err err = {0};
    for (unsigned i = 0; i < f->nfile && f->code == LN_OK; i++) {
        f->code = ln_pin_add(p, ln_span_str(f->file[i].path), f->file[i].content);
        f->file[i].content = NULL;
    }
    /* What the disk had when it all began: that is what must not come back by itself. */
    p->from = is && p->id != is->from      ? is->from
              : c && c->conf && !c->failed ? c->conf->version64
                                           : 0;
    p->since_us = ln_now_us();
    if (f->code != LN_OK)
        ln_err_set(&err, f->code,
                   "%s: version %.6s cannot be read from the store: %s (lunate verify)", p->channel,
                   p->version, ln_strerror(f->code));
    f->done(f->arg, f->code == LN_OK ? p : NULL, err.text);
    fetch_free(f);
}

static int look(struct ln_channel *c, const char *version, struct fetch *f, struct ln_err *err)
{
    struct ln_reader *r = c->hub->reader;
    uint64_t present = c->conf && !c->failed ? c->conf->version64 : 0;
    if (ln_reader_begin(r) != LN_OK)
        return ln_err_set(err, LN_EIO, "the store cannot be read");
    uint32_t chan = c->id ? c->id : ln_read_channel_id(r, c->name); /* it may not load */
    int rc = (f->pin->id = find(c, chan, present, version, err)) ? LN_OK : LN_ENOTFOUND;
    if (rc == LN_OK && (rc = list_files(f, chan)) != LN_OK)
        ln_err_set(err, rc, "%s: version %016llx cannot be read from the store: %s (lunate verify)",
                   c->name, (unsigned long long)f->pin->id, ln_strerror(rc));
    ln_reader_end(r);
    return rc;
}

int ln_version_pin_of(struct ln_channel *c, const char *version, const char *reason,
                      ln_version_pin_fn *done, void *arg, struct ln_err *err)
{
    const struct ln_pin *is = ln_pin_find(&c->hub->pins, c->name);
    if (is && !version[0]) /* "the one before" is now the one that somebody got rid of */
        return ln_err_set(
            err, LN_EINVAL,
            "%s is rolled back to %.6s already%s%.200s%s: name a version for another one "
            "(lunate versions %s)",
            c->name, is->version, is->reason[0] ? " (" : "", is->reason, is->reason[0] ? ")" : "",
            c->name);
    struct fetch *f = calloc(1, sizeof *f);
    if (!f)
        return ln_err_set(err, LN_ENOMEM, "out of memory");
    *f = (struct fetch){.hub = c->hub, .done = done, .arg = arg, .pin = ln_pin_new(c->name)};
    int rc = f->pin ? ln_reader_of(c->hub->store, &f->reader) : LN_ENOMEM;
    rc = rc == LN_OK ? look(c, version, f, err) : ln_err_set(err, rc, "out of memory");
    if (rc != LN_OK) {
        fetch_free(f);
        return rc;
    }
    snprintf(f->pin->reason, sizeof f->pin->reason, "%s", reason);
    if (ln_job_start(c->hub->base, read_files, on_read, f) != LN_OK) {
        read_files(f);
        on_read(f);
    }
    return LN_OK;
}

/* ---- what was rolled back from --------------------------------------------------------------- */

bool ln_version_refused(const struct ln_hub *h, const struct ln_conf_channel *ch, char *text,
                        size_t cap)
{
    const struct ln_pin *p = ln_pin_find(&h->pins, ch->name);
    bool same = p && (ch->version64 == p->from || (ch->former64 && ch->former64 == p->from));
    if (!same || ch->pin || ch->error)
        return false;
    snprintf(
        text, cap,
        "%s: the files on disk are still %.6s, which was rolled back from%s%.200s%s: mend them "
        "first, or run them all the same with lunate rollback %s %.6s",
        ch->name, ch->version, p->reason[0] ? " (" : "", p->reason, p->reason[0] ? ")" : "",
        ch->name, ch->version);
    return true;
}
