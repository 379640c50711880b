/* Settings as the loader hands them over, key by key. Keys that are the script side's own are
 * passed over; a value that is not usable is said to be so. */
#include <stdio.h>
#include <stdlib.h>

#include "hub/conf.h"

enum { DESTS_MAX = 1000, ALLOW_MAX = 1000 };

static bool to_number(struct ln_span s, double *out)
{
    char text[64], *end;
    ln_span_copy(text, sizeof text, s);
    if (s.len == 0 || s.len >= sizeof text)
        return false;
    *out = strtod(text, &end);
    return *end == '\0' && *out == *out;
}

bool ln_conf_set_number(double *out, struct ln_span v, double least, double most)
{
    double d;
    if (!to_number(v, &d) || d < least || d > most)
        return false;
    *out = d;
    return true;
}

static bool set_unsigned(unsigned *out, struct ln_span v, double most)
{
    double d = 0;
    if (v.len && !ln_conf_set_number(&d, v, 0, most))
        return false;
    *out = (unsigned)d;
    return true;
}

static bool set_port(int *out, struct ln_span v)
{
    double d;
    if (!ln_conf_set_number(&d, v, 1, 65535))
        return false;
    *out = (int)d;
    return true;
}

static bool set_choice(int *out, struct ln_span v, const char *const *names)
{
    for (int i = 0; names[i]; i++)
        if (ln_span_is(v, names[i])) {
            *out = i;
            return true;
        }
    return false;
}

bool ln_conf_set_policy(enum ln_reply_policy *out, struct ln_span v)
{
    static const char *const names[] = {"park", "retry", "stop", NULL};
    int i;
    if (!set_choice(&i, v, names))
        return false;
    *out = (enum ln_reply_policy)i;
    return true;
}

static bool set_list(char ***list, unsigned *n, struct ln_span v)
{
    while (v.len > 0) {
        const char *nl = memchr(v.ptr, '\n', v.len);
        size_t len = nl ? (size_t)(nl - v.ptr) : v.len;
        void *p = *n < ALLOW_MAX ? realloc(*list, (*n + 1) * sizeof **list) : NULL;
        if (!p)
            return false;
        *list = p;
        if (!((*list)[*n] = strndup(v.ptr, len)))
            return false;
        (*n)++;
        size_t skip = nl ? len + 1 : len;
        v = ln_span(v.ptr + skip, v.len - skip);
    }
    return true;
}

struct ln_conf_dest *ln_conf_dest_named(struct ln_conf_channel *ch, struct ln_span name)
{
    if (ch->ndest && ln_span_is(name, ch->dest[ch->ndest - 1].name))
        return &ch->dest[ch->ndest - 1]; /* settings of one destination come together */
    for (unsigned i = 0; i < ch->ndest; i++)
        if (ln_span_is(name, ch->dest[i].name))
            return &ch->dest[i];
    void *p = ch->ndest < DESTS_MAX && name.len && name.len < LN_CONF_NAME
                  ? realloc(ch->dest, (ch->ndest + 1) * sizeof *ch->dest)
                  : NULL;
    if (!p)
        return NULL;
    ch->dest = p;
    struct ln_conf_dest *d = &ch->dest[ch->ndest++];
    *d = (struct ln_conf_dest){
        .timeout_s = 10,
        .retry_first_s = 1,
        .retry_factor = 2,
        .retry_max_s = 60,
        .on_reply = {LN_POLICY_PARK, LN_POLICY_RETRY, LN_POLICY_PARK, LN_POLICY_RETRY}};
    ln_span_copy(d->name, sizeof d->name, name);
    ln_conf_try_default(d);
    return d;
}

static const char *const ack_modes[] = {"original", "enhanced", NULL};

static bool set_dest(struct ln_conf_dest *d, const char *key, struct ln_span v)
{
    static const char *const kinds[] = {"mllp", "channel", NULL};
    static const char *const codes[] = {"AE", "AR", "CE", "CR", NULL};
    int i;
    if (strcmp(key, "kind") == 0) {
        if (!set_choice(&i, v, kinds))
            return false;
        d->to_channel = i == 1;
        return true;
    }
    if (strcmp(key, "to") == 0)
        return ln_span_copy(d->to, sizeof d->to, v), v.len < sizeof d->to;
    if (strcmp(key, "host") == 0)
        return ln_span_copy(d->host, sizeof d->host, v), v.len > 0 && v.len < sizeof d->host;
    if (strcmp(key, "port") == 0)
        return set_port(&d->port, v);
    if (strcmp(key, "timeout") == 0)
        return ln_conf_set_number(&d->timeout_s, v, 0.01, 86400);
    if (strcmp(key, "ack_mode") == 0) {
        if (!set_choice(&i, v, ack_modes))
            return false;
        d->enhanced = i == 1;
        return true;
    }
    if (strcmp(key, "retry.first") == 0)
        return ln_conf_set_number(&d->retry_first_s, v, 0.001, 86400);
    if (strcmp(key, "retry.factor") == 0)
        return ln_conf_set_number(&d->retry_factor, v, 1, 100);
    if (strcmp(key, "retry.max") == 0)
        return ln_conf_set_number(&d->retry_max_s, v, 0.001, 86400);
    if (strcmp(key, "retry.attempts") == 0)
        return set_unsigned(&d->attempts, v, 1e9);
    if (strncmp(key, "retry.on.", 9) == 0)
        return ln_conf_try_set(d, key + 9, v);
    if (strcmp(key, "stop_after_parks") == 0)
        return set_unsigned(&d->stop_after_parks, v, 1e9);
    if (strncmp(key, "tls", 3) == 0)
        return ln_conf_tls_set(&d->tls, key + 3, v);
    if (strncmp(key, "on_reply.", 9) == 0)
        return set_choice(&i, ln_span_str(key + 9), codes) &&
               ln_conf_set_policy(&d->on_reply[i], v);
    return true; /* a key of the script side */
}

static bool set_source(struct ln_conf_channel *ch, const char *key, struct ln_span v)
{
    static const char *const kinds[] = {"mllp", "channel", NULL};
    double d;
    int i;
    if (strcmp(key, "kind") == 0) {
        if (!set_choice(&i, v, kinds))
            return false;
        ch->from_channel = i == 1;
        return true;
    }
    if (strcmp(key, "host") == 0)
        return ln_span_copy(ch->host, sizeof ch->host, v), v.len > 0 && v.len < sizeof ch->host;
    if (strcmp(key, "port") == 0)
        return set_port(&ch->port, v);
    if (strcmp(key, "idle_timeout") == 0)
        return v.len == 0 || ln_conf_set_number(&ch->idle_s, v, 0, 1e9);
    if (strcmp(key, "max_message") == 0) {
        if (!ln_conf_set_number(&d, v, 1, 500e6))
            return false;
        ch->max_message = (uint64_t)d;
        return true;
    }
    if (strcmp(key, "ack_mode") == 0) {
        if (!set_choice(&i, v, ack_modes))
            return false;
        ch->enhanced = i == 1;
        return true;
    }
    if (strcmp(key, "duplicates") == 0) {
        static const char *const modes[] = {"process", "ack", "flag", NULL};
        if (!set_choice(&i, v, modes))
            return false;
        ch->duplicates = (enum ln_duplicates)i;
        return true;
    }
    if (strcmp(key, "duplicate_window") == 0)
        return ln_conf_set_number(&ch->duplicate_window_s, v, 0, 1e9);
    if (strcmp(key, "max_connections_per_address") == 0)
        return set_unsigned(&ch->max_per_address, v, 1e6);
    if (strcmp(key, "frame_timeout") == 0)
        return ln_conf_set_number(&ch->frame_s, v, 0.1, 86400);
    if (strcmp(key, "max_connections") == 0)
        return set_unsigned(&ch->max_connections, v, 1e6);
    if (strncmp(key, "tls", 3) == 0)
        return ln_conf_tls_set(&ch->tls, key + 3, v);
    if (strcmp(key, "allow") == 0)
        return set_list(&ch->allow, &ch->nallow, v);
    if (strcmp(key, "charset") == 0)
        return ln_charset_policy_read(v, &ch->charset, NULL) == LN_OK;
    return true;
}

bool ln_conf_set_channel(struct ln_conf_channel *ch, const char *key, struct ln_span v)
{
    static const char *const acks[] = {"commit", "transform", "delivery", "none", NULL};
    static const char *const errors[] = {"park", "stop", NULL};
    double d;
    int i;
    if (strncmp(key, "source.", 7) == 0)
        return set_source(ch, key + 7, v);
    if (strncmp(key, "dest.", 5) == 0) {
        const char *dot = strchr(key + 5, '.');
        struct ln_conf_dest *dest =
            dot ? ln_conf_dest_named(ch, ln_span(key + 5, (size_t)(dot - key - 5))) : NULL;
        return dest && set_dest(dest, dot + 1, v);
    }
    if (strcmp(key, "ack") == 0) {
        if (!set_choice(&i, v, acks))
            return false;
        ch->ack = (enum ln_ack_mode)i;
        return true;
    }
    if (strcmp(key, "on_error") == 0) {
        if (!set_choice(&i, v, errors))
            return false;
        ch->stop_on_error = i == 1;
        return true;
    }
    if (strcmp(key, "allow.read") == 0)
        return set_list(&ch->read, &ch->nread, v);
    if (strcmp(key, "allow.net") == 0)
        return set_list(&ch->reach, &ch->nreach, v);
    if (strcmp(key, "jit") == 0)
        return ch->jit = ln_span_is(v, "true"), true;
    if (strcmp(key, "limits.seconds") == 0)
        return ln_conf_set_number(&ch->seconds, v, 0.01, 86400);
    if (strcmp(key, "limits.memory_mb") == 0)
        return set_unsigned(&ch->memory_mb, v, 1e6);
    if (strcmp(key, "limits.attempts") == 0)
        return set_unsigned(&ch->attempts, v, 1000);
    if (strcmp(key, "archive") == 0) {
        free(ch->archive);
        ch->archive = v.len ? ln_span_dup(v) : NULL;
        return v.len == 0 || ch->archive;
    }
    if (strcmp(key, "retention.days") == 0)
        return v.len == 0 || ln_conf_set_number(&ch->retain_days, v, 0, 1e6);
    if (strcmp(key, "retention.mb") == 0) {
        if (v.len && !ln_conf_set_number(&d, v, 0, 1e12))
            return false;
        ch->retain_mb = v.len ? (uint64_t)d : 0;
        return true;
    }
    return true;
}

static bool set_admin(struct ln_conf_admin *a, struct ln_span key, struct ln_span v)
{
    if (ln_span_is(key, "admin.host"))
        return ln_span_copy(a->host, sizeof a->host, v), v.len > 0 && v.len < sizeof a->host;
    if (ln_span_is(key, "admin.port"))
        return set_port(&a->port, v);
    if (key.len >= 9 && memcmp(key.ptr, "admin.tls", 9) == 0) {
        char text[40];
        ln_span_copy(text, sizeof text, key);
        return ln_conf_tls_set(&a->tls, text + 9, v);
    }
    return !ln_span_is(key, "admin.allow") || set_list(&a->allow, &a->nallow, v);
}

static bool set_access(struct ln_access *a, struct ln_span key, struct ln_span v)
{
    if (ln_span_is(key, "access.grants")) {
        while (v.len > 0) {
            const char *nl = memchr(v.ptr, '\n', v.len);
            size_t len = nl ? (size_t)(nl - v.ptr) : v.len;
            if (len && ln_access_add(a, ln_span(v.ptr, len)) != LN_OK)
                return false;
            len += nl != NULL;
            v = ln_span(v.ptr + len, v.len - len);
        }
        return true;
    }
    if (ln_span_is(key, "access.glass_role"))
        return (a->glass_role = ln_role_of(v)) != LN_ROLE_NONE;
    if (ln_span_is(key, "access.glass_minutes"))
        return set_unsigned(&a->glass_minutes, v, 1440);
    if (ln_span_is(key, "access.http_token"))
        return a->http_token = ln_span_is(v, "true"), true;
    if (ln_span_is(key, "access.socket")) {
        free(a->socket);
        a->socket = v.len ? ln_span_dup(v) : NULL;
    }
    return true;
}

static bool set_site_text(struct ln_conf *c, struct ln_span key, struct ln_span v)
{
    char **to = ln_span_is(key, "data")                     ? &c->data
                : ln_span_is(key, "log.level")              ? &c->log_level
                : ln_span_is(key, "encryption.key_file")    ? &c->key_file
                : ln_span_is(key, "encryption.key_command") ? &c->key_command
                                                            : NULL;
    if (!to)
        return true;
    free(*to);
    *to = ln_span_dup(v);
    return *to;
}

bool ln_conf_set_site(struct ln_conf *c, struct ln_span key, struct ln_span v)
{
    if (key.len > 6 && memcmp(key.ptr, "admin.", 6) == 0)
        return set_admin(&c->admin, key, v);
    if (key.len > 7 && memcmp(key.ptr, "access.", 7) == 0)
        return set_access(&c->access, key, v);
    if (ln_span_is(key, "reload_tests"))
        c->reload_tests = ln_span_is(v, "true");
    else if (ln_span_is(key, "watch"))
        c->watch = ln_span_is(v, "true");
    return set_site_text(c, key, v);
}
