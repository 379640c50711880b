/* The standard's dictionary, 2.1 to 2.8.2, as far as C needs it: names of fields and components,
 * and the lines that lua/dictionary/init.lua reads. The texts are lua/dictionary/{fields,tables,
 * structures,events}.lua (contrib/dictionary.lua writes them; their heads say how to read them).
 * Never needed to parse a message. No allocation, no state: who asks often keeps the answers. */
#ifndef LN_HL7_NAMES_H
#define LN_HL7_NAMES_H

#include <stdint.h>

#include "base/span.h"

#define LN_NAMES_VERSIONS 13 /* 2.1 2.2 2.3 2.3.1 2.4 2.5 2.5.1 2.6 2.7 2.7.1 2.8 2.8.1 2.8.2 */

/* Number of a version from 1, for the text of MSH-12.1: an unknown one gives the next lower known
 * one, what is no version at all (or empty) 2.5.1. */
unsigned ln_names_version(struct ln_span text);
/* The text of a version number: "2.5.1". */
const char *ln_names_version_text(unsigned version);

/* The line with this key in one of the texts ("fields", "tables", ...), without key and first
 * separator. False when there is none. */
bool ln_names_line(const char *text, struct ln_span key, struct ln_span *line);
/* Walks the keys of a text: *at is NULL at first. False at the end. */
bool ln_names_key(const char *text, const char **at, struct ln_span *key);

/* A walk over the entries of one segment ('=', "PID") or data type (':', "XPN"). */
struct ln_names {
    const char *at, *end;
};

struct ln_name {
    uint32_t number; /* of the field or component */
    struct ln_span name;
    struct ln_span type; /* data type; "-" when withdrawn */
    struct ln_span ranges; /* versions it belongs to: "4-8,a"; empty: all */
};

/* False when the dictionary has no such segment or type. */
bool ln_names_open(struct ln_names *n, char kind, struct ln_span owner);
bool ln_names_next(struct ln_names *n, struct ln_name *out);
/* How many versions lie between `version` and the nearest one that has the name; 0: it has it. */
unsigned ln_names_distance(const struct ln_name *name, unsigned version);

/* How far `typed` is from `name`: 1 for a letter left out (names are often cut short), 2 for one
 * too many or a wrong one; at most `limit`. For suggestions. */
unsigned ln_names_difference(struct ln_span typed, struct ln_span name, unsigned limit);

#endif
