/* Delimiters: reading them from a header segment, and the roles of single bytes. Chapter 2.5.4. */
#ifndef LN_HL7_DELIMS_H
#define LN_HL7_DELIMS_H

#include "base/err.h"
#include "base/span.h"
#include "hl7/header.h"

/* True for "MSH", "BHS", "FHS": segments whose field 1 is the separator itself. */
bool ln_delims_header_name(struct ln_span name);

/* Gives the roles of MSH-2 by place (component, repetition, escape, subcomponent, truncation);
 * d->field is set. MSH-2 may have 1 to 5 characters (more keep their bytes, but have no role); a
 * letter, digit or blank ends them. No byte gets two roles: the first one counts. A character of
 * several bytes (UTF-8) keeps its place without a role. Two known defects are read as they are
 * meant: "^~\\&" with the escape doubled, and "^~&" without escape. */
void ln_delims_roles(struct ln_delims *d, struct ln_span msh2);

/* Reads field 1 and 2 of a header segment that starts at text.ptr. LN_EPARSE: err->offset is
 * relative to text. */
int ln_delims_read(struct ln_span text, struct ln_delims *d, struct ln_err *err);

/* True when all roles are the same. */
bool ln_delims_eq(const struct ln_delims *a, const struct ln_delims *b);

#endif
