/* The archiver: a process of its own that writes messages to files before retention trims them. The
 * hub starts it when a channel has `archive`, says to the store how far it has come (nothing beyond
 * that is trimmed), keeps what it complains of for status, and starts it again when it ends. */
#include <stdio.h>

#include "base/json.h"
#include "hub/child.h"

struct ln_archiver {
    struct ln_child child;
    uint64_t messages, bytes; /* written since it started */
    char failure[500];
};

/* ARCHIVED: all of a channel before this message is in its files. */
static int take_archived(struct ln_archiver *a, struct ln_wire_in *in)
{
    char name[LN_CONF_NAME] = "";
    struct ln_span s = ln_wire_get_bytes(in);
    uint64_t below = ln_wire_get_u64(in);
    if (!ln_wire_done(in) || s.len >= sizeof name)
        return LN_EPARSE;
    memcpy(name, s.ptr, s.len);
    struct ln_channel *c = ln_channel_find(a->child.hub, name);
    if (c && c->id && c->conf && c->conf->archive)
        ln_store_archived(a->child.hub->store, c->id, below);
    return LN_OK;
}

static int take_state(struct ln_archiver *a, struct ln_wire_in *in)
{
    struct ln_span failure = ln_wire_get_bytes(in);
    uint64_t messages = ln_wire_get_u64(in), bytes = ln_wire_get_u64(in);
    if (!ln_wire_done(in))
        return LN_EPARSE;
    a->messages = messages;
    a->bytes = bytes;
    char old = a->failure[0];
    snprintf(a->failure, sizeof a->failure, "%.*s", (int)(failure.len > 400 ? 400 : failure.len),
             failure.len ? failure.ptr : "");
    if (a->failure[0] && !old)
        ln_log(LN_ERROR, "archiver", "not_archived", "why=\"%s\" effect=\"nothing is trimmed\"",
               a->failure);
    else if (!a->failure[0] && old)
        ln_log(LN_INFO, "archiver", "archives_again", "messages=%llu",
               (unsigned long long)messages);
    return LN_OK;
}

static int on_record(void *owner, uint8_t type, struct ln_wire_in *in)
{
    switch (type) {
    case LN_P_ARCHIVED: return take_archived(owner, in);
    case LN_P_ARCHIVE_STATE: return take_state(owner, in);
    default: return LN_EPARSE;
    }
}

static void on_lost(void *owner, const char *why)
{
    struct ln_archiver *a = owner;
    snprintf(a->failure, sizeof a->failure, "the archiver: %s", why);
}

static const struct ln_child_ops ops = {.role = "archiver", .record = on_record, .lost = on_lost};

/* NAME -> "path\ndays\nmb" for each channel that is archived, "" -> where the keys come from and
 * which is in use; NULL: none is. */
static struct ln_blob *settings_of(struct ln_hub *h)
{
    struct ln_buf b = {0};
    struct ln_channel *c;
    char text[4200];
    LIST_FOREACH (c, &h->channels, link) {
        if (c->removed || !c->conf || !c->conf->archive)
            continue;
        snprintf(text, sizeof text, "%s\n%.6f\n%llu", c->conf->archive, c->conf->retain_days,
                 (unsigned long long)c->conf->retain_mb);
        ln_wire_bytes(&b, ln_span_str(c->name));
        ln_wire_bytes(&b, ln_span_str(text));
    }
    if (b.len && (h->key_file || h->key_command)) {
        struct ln_buf key = {0};
        ln_buf_addf(&key, "%s\n%s\n%s", h->key_file ? h->key_file : "",
                    h->key_command ? h->key_command : "", h->key_id);
        ln_wire_bytes(&b, ln_span_str(""));
        ln_wire_bytes(&b, ln_buf_span(&key));
        b.failed |= key.failed;
        ln_buf_fini(&key);
    }
    struct ln_blob *out = b.len && !b.failed ? ln_blob_new(ln_buf_span(&b)) : NULL;
    ln_buf_fini(&b);
    return out;
}

void ln_archiver_stop(struct ln_hub *h)
{
    struct ln_archiver *a = h->archiver;
    if (!a)
        return;
    h->archiver = NULL;
    ln_child_stop(&a->child);
    free(a);
}

void ln_archiver_apply(struct ln_hub *h)
{
    struct ln_blob *settings = settings_of(h);
    if (settings)
        h->archiver = ln_child_apply(h->archiver, sizeof *h->archiver, h, &ops, settings);
    else
        ln_archiver_stop(h);
}

void ln_archiver_status(const struct ln_hub *h, struct ln_buf *b)
{
    const struct ln_archiver *a = h->archiver;
    if (!a) {
        ln_json_null(b);
        return;
    }
    ln_json_open(b, '{');
    ln_json_key(b, "failure");
    ln_json_cstr(b, a->failure);
    ln_json_key(b, "messages");
    ln_json_int(b, (int64_t)a->messages);
    ln_json_key(b, "bytes");
    ln_json_int(b, (int64_t)a->bytes);
    ln_json_close(b, '}');
}
