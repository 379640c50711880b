/* A message: an index over its bytes, not a tree. Parsing finds segments and fields (hl7/simd.h);
 * repetitions, components and subcomponents are cut when they are asked for. Edits are overlays in
 * the message's arena; the bytes themselves are never written. Chapter 2.5 (construction), 2.6
 * (rules).
 *
 * Segments live in slots that never move or get a new owner: a slot names its segment as long as
 * the message lives, and `removed` says that it is out. Order is a list through the slots.
 *
 * Line ends are decided once per message: CR ends a segment, with or without LF behind it. LF alone
 * does so only when the header segment ends in it: what follows it there starts like a segment, or
 * there is no CR at all. Empty lines between segments are kept, leading junk (BOM,
 * blanks, VT, whole lines before the header) and empty lines at the end are not part of the
 * message. */
#ifndef LN_HL7_MESSAGE_H
#define LN_HL7_MESSAGE_H

#include <stdint.h>

#include "base/err.h"
#include "base/span.h"
#include "hl7/arena.h"
#include "hl7/charset.h"
#include "hl7/header.h"
#include "hl7/simd.h"

#define LN_MESSAGE_MAX 0x7ffffff0u /* bytes: offsets are 32 bits wide */
#define LN_NO_SEGMENT  UINT32_MAX

/* A field whose text was replaced. cap: bytes that it owns in the arena. */
struct ln_edit {
    const char *ptr;
    uint32_t len, cap;
    uint32_t field; /* from 0: behind the name */
};

/* The edited fields of a segment, in order. */
struct ln_edits {
    uint32_t n, cap;
    uint32_t nfield; /* how many fields the segment has now */
    struct ln_edit item[];
};

struct ln_segment {
    const char *ptr; /* as parsed */
    uint32_t len;
    uint32_t blank; /* empty lines behind it */
    uint32_t prev, next;
    uint32_t nfield; /* fields behind the name, as parsed; MSH-2 is the first of a header segment */
    bool removed, header;
    bool own; /* its bytes are none of m->bytes; `start` is NULL until it is indexed */
    uint32_t *start; /* nfield + 1 offsets: field k is [start[k], start[k+1] - 1), from the start of
                        m->bytes, or of the segment when `own` */
    struct ln_edits *edits; /* NULL while there are none */
};

struct ln_message {
    struct ln_arena arena;
    struct ln_span bytes; /* as given: the caller keeps them as long as the message lives */
    struct ln_delims delims;
    struct ln_charset charset; /* of its bytes, and of what is written */
    bool named; /* the message itself named it */
    struct ln_segment *seg;
    uint32_t nslot, cap; /* slots in use, and room for */
    uint32_t count; /* segments in the list */
    uint32_t first, last; /* slots */
    bool touched; /* something was set, added, removed or moved */
    bool exact; /* untouched, the wire form is `bytes` itself */
    /* Where the last look-up by name and number ended: makes a loop over OBX[1..n] linear. */
    struct {
        uint32_t slot, nth;
    } near;
};

/* What one pass over the bytes finds: enough to know how much memory the message will take. */
struct ln_scan {
    size_t start, end; /* of the header segment; behind the last byte that is no line end */
    struct ln_delims delims;
    struct ln_simd_census census; /* of the bytes from `start` on */
    bool lf; /* LF ends segments */
    struct ln_charset charset;
    bool named; /* by MSH-18, not by the policy */
    bool resolved; /* `charset` and `named` are known */
};

/* Finds the header, delimiters and line ends. LN_EPARSE (err->offset in
 * bytes), LN_ETOOBIG. */
int ln_message_scan(struct ln_span bytes, struct ln_scan *scan, struct ln_err *err) LN_MUST;
/* The same; policy: what is known of its character set (NULL: nothing but MSH-18). */
int ln_message_scan_as(struct ln_span bytes, const struct ln_charset_policy *policy,
                       struct ln_scan *scan, struct ln_err *err) LN_MUST;

/* Room that an arena should have for this message, bytes aside: slots, and slack for field offsets
 * and edits. Having less is no error. */
size_t ln_message_room(const struct ln_scan *scan);

/* Makes a message of scanned bytes. m->arena is set up by the caller (all zero: the heap), the rest
 * of *m is overwritten. LN_ENOMEM. */
int ln_message_build(struct ln_message *m, struct ln_span bytes,
                     const struct ln_scan *scan) LN_MUST;

/* Makes room for one more slot. LN_ENOMEM, LN_ETOOBIG. */
int ln_message_grow(struct ln_message *m) LN_MUST;

/* Both at once, on the heap; ln_message_fini frees it. */
int ln_message_init(struct ln_message *m, struct ln_span bytes, struct ln_err *err) LN_MUST;
void ln_message_fini(struct ln_message *m);

/* Where a segment's `start` counts from. */
static inline const char *ln_segment_base(const struct ln_message *m, const struct ln_segment *s)
{
    return s->own ? s->ptr : m->bytes.ptr;
}

/* ---- segments ----------------------------------------------------------------------------------
 */

/* Slot of the nth (from 1) segment with this name, or LN_NO_SEGMENT. */
uint32_t ln_message_find(struct ln_message *m, struct ln_span name, uint32_t nth);
/* Next segment with this name (empty: any) behind `slot` (LN_NO_SEGMENT: from the start). A removed
 * slot still leads on to what followed it. */
uint32_t ln_message_next(const struct ln_message *m, struct ln_span name, uint32_t slot);
/* Name as it stands in the message: what precedes the first field separator. */
struct ln_span ln_message_name(const struct ln_message *m, uint32_t slot);
bool ln_message_is_named(const struct ln_message *m, uint32_t slot, struct ln_span name);

/* Whether a segment may be named so: [A-Z][A-Z0-9]{2} (chapter 2.5.1). A received one may still
 * have another name. */
bool ln_message_name_ok(struct ln_span name);
/* Adds an empty segment behind `after` (LN_NO_SEGMENT: at the end). Its name must be ok;
 * a header segment gets the message's delimiters. LN_EINVAL, LN_ENOMEM, LN_ETOOBIG. */
int ln_message_add(struct ln_message *m, struct ln_span name, uint32_t after, uint32_t *slot,
                   struct ln_err *err) LN_MUST;
/* Removes a segment. The first one, whose delimiters everything is read with, stays: LN_EINVAL. */
int ln_message_remove(struct ln_message *m, uint32_t slot, struct ln_err *err) LN_MUST;
/* Moves a segment behind another one. LN_EINVAL for the first one. */
int ln_message_move(struct ln_message *m, uint32_t slot, uint32_t after,
                    struct ln_err *err) LN_MUST;

/* ---- wire form ---------------------------------------------------------------------------------
 */

/* Bytes of the wire form: CR behind every segment, what was not edited as it came. */
size_t ln_message_wire_len(const struct ln_message *m);
/* Writes ln_message_wire_len bytes. */
void ln_message_wire(const struct ln_message *m, char *out);
/* One segment without its end; ln_message_segment returns where it ended. */
size_t ln_message_segment_len(const struct ln_message *m, uint32_t slot);
char *ln_message_segment(const struct ln_message *m, uint32_t slot, char *out);

#endif
