/* Verbs on channels. */
#include "hub/control.h"

void ln_verb_mode(struct ln_asker *k, char **word, unsigned n)
{
    static const struct {
        const char *verb, *now;
        uint8_t mode;
    } modes[] = {{"start", "running", LN_MODE_RUN},
                 {"resume", "running", LN_MODE_RUN},
                 {"pause", "paused", LN_MODE_PAUSED},
                 {"stop", "stopped", LN_MODE_STOPPED}};
    struct ln_err err = {0};
    struct ln_channel *c = ln_asker_channel(k, word[1]);
    (void)n;
    if (!c)
        return;
    for (size_t i = 0; i < sizeof modes / sizeof modes[0]; i++) {
        if (strcmp(word[0], modes[i].verb) != 0)
            continue;
        if (ln_channel_set_mode(c, modes[i].mode, &err) != LN_OK) {
            ln_asker_fail(k, 1, "%s", err.text);
            return;
        }
        ln_log(LN_WARN, "control", "mode", "channel=%s now=%s", c->name, modes[i].now);
        ln_asker_done(k, "state", modes[i].now);
    }
}
