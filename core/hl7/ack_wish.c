/* Which acknowledgements a sender wants (MSH-15 and MSH-16). */
#include "hl7/ack.h"

static enum ln_ack_when when_of(struct ln_span s)
{
    return ln_span_is(s, "NE") || !s.len ? LN_ACK_NEVER
           : ln_span_is(s, "ER")         ? LN_ACK_ON_ERROR
           : ln_span_is(s, "SU")         ? LN_ACK_ON_SUCCESS
                                         : LN_ACK_ALWAYS;
}

struct ln_ack_wish ln_ack_wish_read(const struct ln_header *h)
{
    struct ln_ack_wish original = {.accept = LN_ACK_NEVER, .application = LN_ACK_ALWAYS};
    if (h->kind != LN_HEADER_MSH)
        return original;
    struct ln_span accept = ln_header_component(h, 15, 1),
                   application = ln_header_component(h, 16, 1);
    if (!accept.len && !application.len)
        return original;
    return (struct ln_ack_wish){true, when_of(accept), when_of(application)};
}

bool ln_ack_is_due(enum ln_ack_when when, enum ln_ack_code code)
{
    bool success = code == LN_ACK_AA || code == LN_ACK_CA;
    return when == LN_ACK_ALWAYS || (when == LN_ACK_ON_SUCCESS && success) ||
           (when == LN_ACK_ON_ERROR && !success);
}

enum ln_ack_code ln_ack_accept(enum ln_ack_code code)
{
    return code == LN_ACK_AA ? LN_ACK_CA : code > LN_ACK_AR ? code : LN_ACK_CE;
}

bool ln_ack_code_read(struct ln_span name, enum ln_ack_code *code)
{
    static const char *const names[] = {"AA", "AE", "AR", "CA", "CE", "CR"};
    for (int i = 0; i < 6; i++) {
        if (!ln_span_is(name, names[i]))
            continue;
        *code = (enum ln_ack_code)i;
        return true;
    }
    return false;
}
