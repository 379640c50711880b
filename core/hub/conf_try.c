/* `retry.on`: what a failed try of each class means (lua/channel.lua checks what people write). */
#include <stdio.h>
#include <stdlib.h>

#include "hub/conf.h"

const char *ln_conf_try_name(enum ln_try t)
{
    static const char *const names[] = {"connect", "tls", "timeout", "closed",
                                        "AE",      "AR",  "CE",      "CR"};
    return t < LN_TRIES ? names[t] : "";
}

static const struct ln_conf_try plain = {LN_POLICY_RETRY, -1, -1, -1, -1};

void ln_conf_try_default(struct ln_conf_dest *d)
{
    for (int i = 0; i < LN_TRIES; i++)
        d->on_try[i] = plain;
}

bool ln_conf_try_set(struct ln_conf_dest *d, const char *name, struct ln_span v)
{
    static const double most[] = {86400, 100, 86400, 1e9};
    char text[160], *rest = text;
    struct ln_conf_try t = plain;
    double *const to[] = {&t.first_s, &t.factor, &t.max_s, &t.attempts};
    unsigned which = 0;
    while (which < LN_TRIES && strcmp(ln_conf_try_name(which), name) != 0)
        which++;
    if (which == LN_TRIES || v.len >= sizeof text)
        return false;
    snprintf(text, sizeof text, "%.*s", (int)v.len, v.len ? v.ptr : "");
    const char *word = strsep(&rest, " ");
    if (word[0] && !ln_conf_set_policy(&t.policy, ln_span_str(word)))
        return false;
    for (unsigned i = 0; i < 4 && (word = strsep(&rest, " ")); i++)
        if (strcmp(word, "-") != 0 && !ln_conf_set_number(to[i], ln_span_str(word), 0, most[i]))
            return false;
    d->on_try[which] = t;
    return true;
}
