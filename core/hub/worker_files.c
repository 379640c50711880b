/* What a worker is given before it starts: its channel, the files, kv. Large files are lent (it
 * maps them), the others go through its socket, piece by piece: neither the loop nor memory is to
 * notice that a hundred channels have a large table each. */
#include "hub/hub.h"
#include "hub/spawn.h"

enum { PIECE = 256 * 1024, LENT_MAX = LN_SPAWN_FDS - LN_WORKER_LENT };

/* Files and secrets, as one list. */
static const struct ln_conf_file *file_at(const struct ln_conf_channel *conf, unsigned i)
{
    if (i < conf->nfile)
        return &conf->file[i];
    return i - conf->nfile < conf->nsecret ? &conf->secret[i - conf->nfile] : NULL;
}

/* The next one that is lent, at or after *i; NULL: none. n are lent before it. */
static const struct ln_conf_file *next_lent(const struct ln_conf_channel *conf, int n, unsigned *i)
{
    for (; n < LENT_MAX && *i < conf->nfile; ++*i)
        if (conf->file[*i].content->fd >= 0)
            return &conf->file[(*i)++];
    return NULL;
}

int ln_worker_lend(const struct ln_conf_channel *conf, int *fd)
{
    const struct ln_conf_file *f;
    int n = 0;
    for (unsigned i = 0; (f = next_lent(conf, n, &i)); n++)
        fd[n] = f->content->fd;
    return n;
}

static bool is_lent(const struct ln_conf_channel *conf, const struct ln_conf_file *file)
{
    const struct ln_conf_file *f;
    int n = 0;
    if (file->content->fd < 0)
        return false;
    for (unsigned i = 0; (f = next_lent(conf, n, &i)); n++)
        if (f == file)
            return true;
    return false;
}

static int add_lent(const struct ln_conf_channel *conf, struct ln_buf *b)
{
    const struct ln_conf_file *f;
    int n = 0, rc = LN_OK;
    for (unsigned i = 0; rc == LN_OK && (f = next_lent(conf, n, &i)); n++) {
        size_t rec = ln_wire_begin(b, LN_P_MAPPED);
        ln_wire_bytes(b, ln_span_str(f->path));
        ln_wire_u32(b, (uint32_t)(LN_WORKER_LENT + n));
        ln_wire_u64(b, f->content->len);
        rc = ln_wire_end(b, rec);
    }
    return rc;
}

/* Adds a piece of the file that is next. */
static int add_piece(struct ln_worker *w, const struct ln_conf_file *f)
{
    struct ln_buf *b = &w->stream.out;
    struct ln_span all = ln_content_span(f->content);
    b->failed = false;
    size_t left = all.len - w->file_at, n = left < PIECE ? left : PIECE;
    if (w->file_at == 0) {
        ln_wire_head(b, LN_P_FILE, 4 + strlen(f->path) + 4 + all.len);
        ln_wire_bytes(b, ln_span_str(f->path));
        ln_wire_u32(b, (uint32_t)all.len);
    }
    w->file_at += n;
    if (w->file_at == all.len) {
        w->file++;
        w->file_at = 0;
    }
    return b->failed ? LN_ENOMEM : ln_buf_add(b, all.ptr + (all.len - left), n);
}

/* kv and START: what comes behind the files. */
static int add_start(struct ln_channel *c)
{
    struct ln_buf *b = &c->worker.stream.out;
    struct ln_span key = {"", 0}, value;
    size_t rec;
    int rc = ln_reader_begin(c->hub->reader);
    if (rc != LN_OK)
        return rc;
    while (rc == LN_OK && ln_read_kv_next(c->hub->reader, c->id, &key, &value) == LN_OK) {
        rec = ln_wire_begin(b, LN_P_KV);
        ln_wire_bytes(b, key);
        ln_wire_bytes(b, value);
        rc = ln_wire_end(b, rec);
    }
    ln_reader_end(c->hub->reader);
    if (rc != LN_OK)
        return rc;
    rec = ln_wire_begin(b, LN_P_START);
    return ln_wire_end(b, rec);
}

int ln_worker_tell_more(struct ln_channel *c)
{
    struct ln_worker *w = &c->worker;
    const struct ln_conf_file *f;
    int rc = LN_OK;
    while (rc == LN_OK && (f = file_at(c->conf, w->file)) && w->stream.out.len < PIECE) {
        if (is_lent(c->conf, f))
            w->file++;
        else
            rc = add_piece(w, f);
    }
    if (rc == LN_OK && !f) {
        rc = add_start(c);
        w->telling = false;
    }
    if (rc != LN_OK)
        return rc;
    ln_stream_flush(&w->stream);
    if (w->telling)
        ln_stream_wake(&w->stream);
    return LN_OK;
}

static int add_allow(struct ln_buf *b, const struct ln_conf_channel *conf)
{
    if (conf->nread == 0 && conf->nreach == 0)
        return LN_OK;
    size_t rec = ln_wire_begin(b, LN_P_ALLOW);
    ln_wire_u8(b, conf->nreach ? LN_NET_ASKED : LN_NET_NONE);
    ln_wire_bytes(b, ln_span_str(conf->ca ? conf->ca : ""));
    ln_wire_u32(b, conf->nread);
    for (unsigned i = 0; i < conf->nread; i++)
        ln_wire_bytes(b, ln_span_str(conf->read[i]));
    return ln_wire_end(b, rec);
}

int ln_worker_tell(struct ln_channel *c)
{
    struct ln_worker *w = &c->worker;
    struct ln_conf_channel *conf = c->conf;
    struct ln_buf *b = &w->stream.out;
    if (add_allow(b, conf) != LN_OK || add_lent(conf, b) != LN_OK)
        return LN_ENOMEM;
    size_t rec = ln_wire_begin(b, LN_P_CHANNEL);
    ln_wire_bytes(b, ln_span_str(c->name));
    ln_wire_bytes(b, ln_span_str(c->hub->site));
    ln_wire_bytes(b, ln_span_str(conf->script));
    ln_wire_f64(b, conf->seconds);
    ln_wire_u32(b, conf->memory_mb);
    ln_wire_u8(b, conf->jit);
    int rc = ln_wire_end(b, rec);
    w->telling = true;
    w->file = 0;
    w->file_at = 0;
    return rc == LN_OK ? ln_worker_tell_more(c) : rc;
}
