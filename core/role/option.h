/* Options of the verbs written in C: `--name VALUE`, `--name=VALUE`, `--flag`, in any order with
 * the words; `--` ends them. Mistakes are one line on stderr and exit status 2. */
#ifndef LN_ROLE_OPTION_H
#define LN_ROLE_OPTION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

enum ln_option_kind {
    LN_OPTION_FLAG, /* bool *: set */
    LN_OPTION_WORD, /* const char **: borrowed from argv */
    LN_OPTION_COUNT, /* uint64_t *: whole number, at least 1 */
    LN_OPTION_NUMBER, /* double *: at least 0 */
};

struct ln_option {
    const char *name; /* without the dashes; NULL ends the table */
    enum ln_option_kind kind;
    void *value;
};

/* Parses argv[2..argc). The words (all that is no option) are moved to the front of argv + 2;
 * returns how many they are, or -1 after having said what is wrong. */
int ln_option_parse(int argc, char **argv, const struct ln_option *options);

/* Says "lunate VERB: TEXT (see lunate help VERB)" on stderr; returns exit status 2. */
int ln_option_usage(const char *verb, const char *fmt, ...) LN_PRINTF(2, 3);

/* Splits "host:port" or "[v6]:port" into the caller's buffers. False when it is neither. */
bool ln_option_address(const char *text, char *host, size_t host_cap, char *port, size_t port_cap);

#endif
