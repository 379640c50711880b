/* One entry as a line, and back. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "audit/chain.h"
#include "base/clock.h"
#include "base/json.h"

static const char SEQ[] = "{\"seq\":", PREV[] = ",\"prev\":\"", TIME[] = "\",\"time\":\"",
                  HASH[] = ",\"hash\":\"", END[] = "\"}";
enum { TAIL = sizeof HASH - 1 + 64 + sizeof END - 1 };

static void put(struct ln_buf *b, const char *key, const char *text)
{
    if (!text || !text[0])
        return;
    size_t len = strnlen(text, LN_AUDIT_TEXT_MAX);
    ln_buf_addf(b, ",\"%s\":", key);
    struct ln_buf value = {0}; /* of its own: the commas of ln_json are not wanted here */
    ln_json_str(&value, ln_span(text, len));
    b->failed |= value.failed;
    ln_buf_add_span(b, ln_buf_span(&value));
    ln_buf_fini(&value);
}

static void put_who(struct ln_buf *b, const struct ln_audit_who *w)
{
    put(b, "user", w->user);
    if (w->uid >= 0)
        ln_buf_addf(b, ",\"uid\":%lld", (long long)w->uid);
    if (w->login_uid >= 0)
        ln_buf_addf(b, ",\"login_uid\":%lld", (long long)w->login_uid);
    put(b, "role", w->role);
    if (w->pid > 0)
        ln_buf_addf(b, ",\"pid\":%d", w->pid);
    put(b, "from", w->from);
    put(b, "via", w->via);
}

void ln_audit_line(struct ln_buf *b, const struct ln_audit_entry *e, uint64_t seq,
                   unsigned char hash[32])
{
    char hex[LN_AUDIT_HEX], when[40];
    size_t start = b->len;
    ln_audit_hex(hash, hex);
    ln_iso_time(e->time_us ? e->time_us : ln_now_us(), when, sizeof when);
    ln_buf_addf(b, "%s%llu%s%s%s%s\"", SEQ, (unsigned long long)seq, PREV, hex, TIME, when);
    if (e->who)
        put_who(b, e->who);
    put(b, "action", e->action);
    put(b, "object", e->object);
    put(b, "query", e->query);
    put(b, "shown", e->shown);
    put(b, "reason", e->reason);
    put(b, "outcome", e->outcome ? e->outcome : "ok");
    put(b, "text", e->text);
    if (b->failed || !ln_audit_sha256(b->data + start, b->len - start, hash)) {
        b->failed = true;
        return;
    }
    ln_audit_hex(hash, hex);
    ln_buf_addf(b, "%s%s%s\n", HASH, hex, END);
}

static bool skip(struct ln_span *s, const char *text)
{
    size_t n = strlen(text);
    if (s->len < n || memcmp(s->ptr, text, n) != 0)
        return false;
    *s = ln_span(s->ptr + n, s->len - n);
    return true;
}

static bool number(struct ln_span *s, uint64_t *out)
{
    size_t n = 0;
    *out = 0;
    while (n < s->len && n < 18 && s->ptr[n] >= '0' && s->ptr[n] <= '9')
        *out = *out * 10 + (uint64_t)(s->ptr[n++] - '0');
    bool ok = n > 0 && (n == 1 || s->ptr[0] != '0');
    *s = ln_span(s->ptr + n, s->len - n);
    return ok;
}

static bool hex(struct ln_span *s, unsigned char out[32])
{
    if (s->len < 64 || !ln_audit_unhex(s->ptr, out))
        return false;
    *s = ln_span(s->ptr + 64, s->len - 64);
    return true;
}

bool ln_audit_read_line(struct ln_span line, struct ln_audit_link *out)
{
    unsigned char own[32];
    struct ln_span s = line;
    if (!skip(&s, SEQ) || !number(&s, &out->seq) || !skip(&s, PREV) || !hex(&s, out->prev) ||
        !skip(&s, TIME) || s.len < TAIL)
        return false;
    size_t body = line.len - TAIL;
    s = ln_span(line.ptr + body, TAIL);
    if (!skip(&s, HASH) || !hex(&s, out->hash) || !skip(&s, END) || s.len > 0)
        return false;
    out->intact = ln_audit_sha256(line.ptr, body, own) && memcmp(own, out->hash, 32) == 0;
    return true;
}

struct ln_span ln_audit_member(struct ln_span line, const char *key)
{
    char word[40];
    int n = snprintf(word, sizeof word, ",\"%s\":\"", key);
    const char *p = line.len ? memmem(line.ptr, line.len, word, (size_t)n) : NULL;
    if (!p)
        return ln_span("", 0);
    p += n;
    size_t left = line.len - (size_t)(p - line.ptr), i = 0;
    while (i < left && p[i] != '"')
        i += p[i] == '\\' ? 2 : 1;
    return ln_span(p, i < left ? i : left);
}
