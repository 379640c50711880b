/* Paths into a message: SEG[n]-F[r].C.S, everything counted from 1. `[n]` is the nth segment of
 * that name, `[r]` the repetition, both 1 when left out; `[*]` means every one. "PID", "OBX[2]"
 * name whole segments. */
#ifndef LN_HL7_PATH_H
#define LN_HL7_PATH_H

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"

#define LN_PATH_NAME_MAX  15
#define LN_PATH_INDEX_MAX 99999999u /* segments and repetitions */
#define LN_PATH_PART_MAX  65535u /* fields, components, subcomponents */
#define LN_PATH_ALL       UINT32_MAX /* [*] */

struct ln_path {
    char name[LN_PATH_NAME_MAX + 1];
    uint32_t name_len;
    uint32_t segment; /* from 1, or LN_PATH_ALL; 1 when left out */
    uint32_t field; /* 0: the path names a segment */
    uint32_t repetition; /* 0: left out */
    uint32_t component, subcomponent; /* 0: left out */
};

/* Reads a path. LN_EINVAL: err says what is wrong and at which character. */
int ln_path_parse(struct ln_span text, struct ln_path *path, struct ln_err *err) LN_MUST;

/* Reads the part behind the dash, F[r].C.S: a path within a segment. The name is left empty. */
int ln_path_parse_field(struct ln_span text, struct ln_path *path, struct ln_err *err) LN_MUST;

/* True when a wildcard stands in it. */
bool ln_path_many(const struct ln_path *path);

#endif
