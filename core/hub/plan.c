/* What a reload would change, in words: for people who want to know before. */
#include "hub/version.h"

#include <stdio.h>

static struct ln_wire_in pairs_of(const struct ln_blob *b)
{
    struct ln_wire_in in = {"", "", false};
    if (b) {
        in.ptr = b->data;
        in.end = b->data + b->len;
    }
    return in;
}

static bool find(const struct ln_blob *settings, struct ln_span key, struct ln_span *value)
{
    struct ln_wire_in in = pairs_of(settings);
    while (!in.bad && in.ptr < in.end) {
        struct ln_span k = ln_wire_get_bytes(&in);
        *value = ln_wire_get_bytes(&in);
        if (!in.bad && ln_span_eq(k, key))
            return true;
    }
    return false;
}

static bool ends(const char *key, const char *with)
{
    size_t n = strlen(key), w = strlen(with);
    return n >= w && strcmp(key + n - w, with) == 0;
}

/* Where an alert goes may have a token in it, too. */
static bool is_secret(const char *key)
{
    if (strncmp(key, "alerts.target.", 14) == 0 && (ends(key, ".url") || ends(key, ".command")))
        return true;
    return strstr(key, "password") || strstr(key, "secret") || strstr(key, "passphrase") ||
           strstr(key, "token");
}

/* A value for people: lists have their lines side by side. */
static void add_value(struct ln_buf *out, const char *key, struct ln_span v)
{
    if (is_secret(key)) {
        ln_buf_adds(out, "(not shown)");
        return;
    }
    if (v.len == 0)
        ln_buf_addf(out, "none");
    for (size_t i = 0; i < v.len && i < 200; i++)
        ln_buf_addc(out, v.ptr[i] == '\n' ? ' ' : v.ptr[i]);
}

static bool has_dest(const struct ln_conf_channel *ch, const char *name)
{
    for (unsigned i = 0; i < ch->ndest; i++)
        if (strcmp(ch->dest[i].name, name) == 0)
            return true;
    return false;
}

/* Settings that say nothing of their own: the script's files tell of them. */
static bool is_silent(const char *key)
{
    return strcmp(key, "script") == 0 || strcmp(key, "destinations") == 0 || ends(key, "filter") ||
           ends(key, "transform");
}

/* "dest.lab.port" of a destination that both have: "lab: port"; false when only one has it. */
static bool words_for(const char *key, const struct ln_conf_channel *a,
                      const struct ln_conf_channel *b, char *out, size_t cap)
{
    char name[LN_CONF_NAME];
    const char *dot = strncmp(key, "dest.", 5) == 0 ? strchr(key + 5, '.') : NULL;
    if (!dot) {
        snprintf(out, cap, "%s", key);
        return true;
    }
    snprintf(name, sizeof name, "%.*s", (int)(dot - key - 5), key + 5);
    snprintf(out, cap, "destination %s, %s", name, dot + 1);
    return !a || !b || (has_dest(a, name) && has_dest(b, name));
}

/* One line per setting that differs. */
static unsigned plan_settings(const struct ln_blob *before, const struct ln_blob *after,
                              const struct ln_conf_channel *a, const struct ln_conf_channel *b,
                              struct ln_buf *out)
{
    struct ln_wire_in in = pairs_of(after);
    unsigned n = 0;
    while (!in.bad && in.ptr < in.end) {
        struct ln_span k = ln_wire_get_bytes(&in), v = ln_wire_get_bytes(&in), old = {"", 0};
        char key[256], words[400];
        snprintf(key, sizeof key, "%.*s", (int)(k.len > 255 ? 255 : k.len), k.ptr);
        bool had = find(before, k, &old);
        if (in.bad || is_silent(key) || (had && ln_span_eq(old, v)) ||
            !words_for(key, a, b, words, sizeof words))
            continue;
        ln_buf_addf(out, "    %s: ", words);
        if (had)
            add_value(out, key, old);
        ln_buf_addf(out, had ? " -> " : "now ");
        add_value(out, key, v);
        ln_buf_addc(out, '\n');
        n++;
    }
    return n;
}

/* Adds the first words of what `to` has otherwise than `from`: "alerts", once, for all of it. */
static void add_heads(const struct ln_blob *from, const struct ln_blob *to, struct ln_buf *out)
{
    struct ln_wire_in in = pairs_of(to);
    while (!in.bad && in.ptr < in.end) {
        struct ln_span k = ln_wire_get_bytes(&in), v = ln_wire_get_bytes(&in), old;
        if (in.bad || (find(from, k, &old) && ln_span_eq(old, v)))
            continue;
        char head[64];
        const char *dot = memchr(k.ptr, '.', k.len);
        size_t n = dot ? (size_t)(dot - k.ptr) : k.len;
        snprintf(head, sizeof head, " %.*s,", (int)(n > 60 ? 60 : n), k.ptr);
        if (out->len == 0 || !memmem(out->data, out->len, head, strlen(head)))
            ln_buf_adds(out, head);
    }
}

void ln_plan_told(const struct ln_blob *before, const struct ln_blob *after, struct ln_buf *out)
{
    struct ln_buf heads = {0};
    add_heads(before, after, &heads);
    add_heads(after, before, &heads);
    if (heads.len)
        ln_buf_addf(out, "lunate.lua: reloaded:%.*s\n", (int)heads.len - 1, heads.data);
    ln_buf_fini(&heads);
}

static const struct ln_conf_file *file_named(const struct ln_conf_channel *ch, const char *path)
{
    for (unsigned i = 0; i < ch->nfile; i++)
        if (strcmp(ch->file[i].path, path) == 0)
            return &ch->file[i];
    return NULL;
}

static unsigned plan_files(const struct ln_conf_channel *a, const struct ln_conf_channel *b,
                           struct ln_buf *out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < b->nfile; i++) {
        const struct ln_conf_file *f = &b->file[i], *o = file_named(a, f->path);
        if (o && o->content == f->content) /* equal ones are one */
            continue;
        ln_buf_addf(out, "    %s: %s\n", f->path, o ? "changed" : "new");
        n++;
    }
    for (unsigned i = 0; i < a->nfile; i++)
        if (!file_named(b, a->file[i].path)) {
            ln_buf_addf(out, "    %s: gone\n", a->file[i].path);
            n++;
        }
    return n;
}

static unsigned plan_dests(struct ln_channel *c, const struct ln_conf_channel *a,
                           const struct ln_conf_channel *b, struct ln_buf *out)
{
    unsigned n = 0;
    for (unsigned i = 0; i < b->ndest; i++) {
        const struct ln_conf_dest *d = &b->dest[i];
        if (has_dest(a, d->name))
            continue;
        if (d->to_channel)
            ln_buf_addf(out, "    destination %s: new, to channel %s\n", d->name, d->to);
        else
            ln_buf_addf(out, "    destination %s: new, to %s:%d\n", d->name, d->host, d->port);
        n++;
    }
    for (unsigned i = 0; i < a->ndest; i++) {
        if (has_dest(b, a->dest[i].name))
            continue;
        const struct ln_dest *d = ln_channel_dest(c, a->dest[i].name);
        ln_buf_addf(out, "    destination %s: gone; %s\n", a->dest[i].name,
                    d && (d->count || d->behind)
                        ? "what it has queued is kept, and sent when it comes back"
                        : "it has nothing queued");
        n++;
    }
    return n;
}

static void plan_channel(struct ln_hub *h, const struct ln_conf_channel *b, unsigned *changes,
                         struct ln_buf *out)
{
    struct ln_channel *c = ln_channel_find(h, b->name);
    const struct ln_conf_channel *a = c ? (c->next ? c->next : c->conf) : NULL;
    bool runs = a && !c->failed && !c->removed;
    if (b->error) {
        ln_buf_addf(out, "%s: refused, %s: %s\n", b->name,
                    runs ? "the old one goes on" : "it does not run", b->error);
        ++*changes;
        return;
    }
    if (!runs) {
        ln_buf_addf(out, "%s: %s, starts", b->name,
                    c && c->id ? "comes back with what it has queued" : "new");
        if (!b->from_channel)
            ln_buf_addf(out, " and listens on %s:%d", b->host, b->port);
        ln_buf_addc(out, '\n');
        ++*changes;
        return;
    }
    char text[600];
    if (ln_version_refused(h, b, text, sizeof text)) {
        ln_buf_addf(out, "%s: refused, the old one goes on: %s\n", b->name, text);
        ++*changes;
        return;
    }
    if (a->version64 == b->version64 && a->settings64 == b->settings64 && b->pin) {
        ln_buf_addf(out, "%s: stays rolled back to %.6s; the files on disk are %.6s\n", b->name,
                    b->version, b->disk);
        return;
    }
    if (a->version64 == b->version64 && a->settings64 == b->settings64) {
        ln_buf_addf(out, "%s: unchanged\n", b->name);
        return;
    }
    ln_buf_addf(out, "%s: changes between two messages, %.6s -> %.6s\n", b->name, a->version,
                b->version);
    plan_files(a, b, out);
    plan_dests(c, a, b, out);
    plan_settings(a->settings, b->settings, a, b, out);
    if (a->tls64 != b->tls64)
        ln_buf_adds(out, "    certificates: for connections to come; open ones keep theirs\n");
    if (a->secret64 != b->secret64)
        ln_buf_adds(out, "    secrets: other ones, or with other values\n");
    if (c->source && !ln_source_is(c->source, b) && ln_source_connections(c))
        ln_buf_addf(out,
                    "    %u connections to the old port get the replies they are owed, then end\n",
                    ln_source_connections(c));
    ++*changes;
}

unsigned ln_plan_site(struct ln_hub *h, struct ln_conf *conf, const char *only, struct ln_buf *out)
{
    struct ln_channel *c;
    unsigned changes = 0;
    struct ln_buf site = {0};
    if (!only && plan_settings(h->site_settings, conf->settings, NULL, NULL, &site)) {
        ln_buf_addf(out, "lunate.lua:\n");
        ln_buf_add(out, site.data, site.len);
        if (ln_hub_data_moves(h, conf))
            ln_buf_addf(out, "    data: takes effect with the next start of the engine\n");
        changes++;
    }
    ln_buf_fini(&site);
    for (unsigned i = 0; i < conf->nchannel; i++)
        if (!only || strcmp(only, conf->channel[i].name) == 0)
            plan_channel(h, &conf->channel[i], &changes, out);
    LIST_FOREACH (c, &h->channels, link)
        if (!c->removed && !ln_conf_find(conf, c->name) && (!only || strcmp(only, c->name) == 0)) {
            ln_buf_addf(out, "%s: gone from the site, stops; its messages are kept\n", c->name);
            changes++;
        }
    return changes;
}
