/* Source text of a script, as far as a trace needs it: its lines, and the names on a line. */
#ifndef LN_SCRIPT_TRACE_SOURCE_H
#define LN_SCRIPT_TRACE_SOURCE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/span.h"
#include "script/files.h"

uint32_t ln_trace_count_lines(const struct ln_file *file);
/* Line n, from 1, without its end; empty when there is none. */
struct ln_span ln_trace_line(const struct ln_file *file, int n);

/* A name that is no field, method or key. Start with all zero. */
struct ln_trace_word {
    struct ln_span name;
    bool target; /* stands to the left of = */
    bool again; /* stands further left, too */
    size_t at; /* where to go on */
};
bool ln_trace_next_word(struct ln_span line, struct ln_trace_word *word);

#endif
