/* The tolerant reader is a machine of few states. Bytes whose meaning hangs on what follows are
 * "pending": FS (CR may follow), FS LF (VT may follow), VT inside a frame or the start of a line
 * between frames (a header may follow). They are at most four, are kept at the end of `part`
 * between calls, and only become data once decided, so that frames, counts and the size limit come
 * out the same however the stream is cut. Everything else is skipped over with memchr. */
#include "hl7/mllp.h"

enum state {
    IDLE, /* between frames; a header may start here */
    IDLE_WORD, /* between frames, behind a letter or digit: no header starts here */
    IDLE_HEADER, /* .. + 2: one to three letters of MSH, BHS, FHS seen between frames */
    IN = IDLE_HEADER + 3,
    IN_FS, /* FS seen */
    IN_FS_LF, /* FS LF seen */
    IN_VT, /* .. + 3: VT and none to three letters of a header seen */
    TOO_BIG = IN_VT + 4,
    NO_MEMORY,
};

/* How much of a frame that is too big is kept, so that its header can be read and answered. */
#define HEAD_KEPT 4096u

struct scan {
    struct ln_mllp *m;
    const char *data;
    size_t len;
    size_t at; /* next byte to look at */
    size_t start; /* data[start..at) belongs to the frame, behind what is in part */
    size_t fs; /* next FS at or behind `at`, len when there is none; found anew when passed */
    bool fs_known;
};

const char *ln_mllp_deviation_name(enum ln_mllp_deviation d)
{
    static const char *const names[] = {
        [LN_MLLP_JUNK] = "junk",           [LN_MLLP_NO_CR] = "no_cr",
        [LN_MLLP_FS_INSIDE] = "fs_inside", [LN_MLLP_VT_INSIDE] = "vt_inside",
        [LN_MLLP_RESTART] = "restart",     [LN_MLLP_NO_VT] = "no_vt",
        [LN_MLLP_EMPTY] = "empty",
    };
    return (unsigned)d < LN_MLLP_DEVIATIONS ? names[d] : "unknown";
}

void ln_mllp_init(struct ln_mllp *m, size_t max_frame)
{
    *m = (struct ln_mllp){.max_frame = max_frame, .state = IDLE};
}

void ln_mllp_fini(struct ln_mllp *m)
{
    ln_buf_fini(&m->part);
    m->state = IDLE;
}

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z');
}

/* Whether c goes on with MSH, BHS or FHS and a separator, of which `seen` letters came, prev last.
 */
static bool header_goes_on(int seen, char prev, char c)
{
    switch (seen) {
    case 0: return c == 'M' || c == 'B' || c == 'F';
    case 1: return c == (prev == 'M' ? 'S' : 'H');
    case 2: return c == (prev == 'S' ? 'H' : 'S');
    default: return c > ' ' && c < 0x7f && !is_alnum(c);
    }
}

static char byte_before(const struct scan *s)
{
    return s->at ? s->data[s->at - 1] : s->m->part.data[s->m->part.len - 1];
}

static void count(struct scan *s, enum ln_mllp_deviation d, uint64_t n)
{
    s->m->deviations[d] += n;
}

/* Moves what belongs to the frame from the input to part. */
static bool keep(struct scan *s)
{
    if (s->at == s->start)
        return true;
    if (ln_buf_add(&s->m->part, s->data + s->start, s->at - s->start) != LN_OK) {
        s->m->state = NO_MEMORY;
        ln_buf_fini(&s->m->part);
        return false;
    }
    s->start = s->at;
    return true;
}

static void idle(struct scan *s)
{
    char c = s->data[s->at];
    if (c == LN_MLLP_VT) {
        s->m->state = IN;
        s->start = s->at + 1;
    } else if (s->m->state == IDLE && header_goes_on(0, 0, c)) {
        s->m->state = IDLE_HEADER;
        s->start = s->at;
    } else {
        count(s, LN_MLLP_JUNK, 1);
        s->m->state = is_alnum(c) ? IDLE_WORD : IDLE;
    }
    s->at++;
}

static void idle_header(struct scan *s)
{
    int seen = s->m->state - IDLE_HEADER + 1;
    if (!header_goes_on(seen, byte_before(s), s->data[s->at])) {
        count(s, LN_MLLP_JUNK, (uint64_t)seen);
        s->m->part.len = 0;
        s->m->state = IDLE_WORD;
        return;
    }
    s->at++;
    s->m->state++;
    if (seen == 3) {
        count(s, LN_MLLP_NO_VT, 1);
        s->m->state = IN;
    }
}

/* The frame goes past the limit: keeps enough of it for its header to be read. */
static enum ln_mllp_event too_big(struct scan *s, struct ln_span *frame)
{
    struct ln_mllp *m = s->m;
    size_t want = m->max_frame < HEAD_KEPT ? m->max_frame : HEAD_KEPT;
    size_t more = want > m->part.len ? want - m->part.len : 0;
    if (more < s->at - s->start)
        s->at = s->start + more;
    if (!keep(s))
        return LN_MLLP_NO_MEMORY;
    m->state = TOO_BIG;
    *frame = ln_span(m->part.data, m->part.len < want ? m->part.len : want);
    return LN_MLLP_TOO_BIG;
}

/* Skips over data to the next byte that may matter. False when the frame has become too big. */
static bool inside(struct scan *s)
{
    struct ln_mllp *m = s->m;
    const char *p;
    if (!s->fs_known || s->fs < s->at) {
        p = memchr(s->data + s->at, LN_MLLP_FS, s->len - s->at);
        s->fs = p ? (size_t)(p - s->data) : s->len;
        s->fs_known = true;
    }
    p = memchr(s->data + s->at, LN_MLLP_VT, s->fs - s->at);
    s->at = p ? (size_t)(p - s->data) : s->fs;
    if (m->max_frame && m->part.len + (s->at - s->start) > m->max_frame)
        return false;
    if (s->at < s->len) {
        m->state = p ? IN_VT : IN_FS;
        s->at++;
    }
    return true;
}

/* VT inside a frame, then a header: what came before was never finished by its sender. */
static void restart(struct scan *s)
{
    struct ln_buf *part = &s->m->part;
    if (s->at >= 4) {
        part->len = 0;
        s->start = s->at - 4;
    } else {
        size_t n = 4 - s->at;
        memmove(part->data, part->data + part->len - n, n);
        part->len = n;
        s->start = 0;
    }
    s->m->state = IN;
    count(s, LN_MLLP_RESTART, 1);
}

static void inside_vt(struct scan *s)
{
    int seen = s->m->state - IN_VT;
    if (!header_goes_on(seen, seen ? byte_before(s) : 0, s->data[s->at])) {
        count(s, LN_MLLP_VT_INSIDE, 1);
        s->m->state = IN;
        return;
    }
    s->at++;
    if (seen == 3)
        restart(s);
    else
        s->m->state++;
}

/* The frame ends before data[at], its last `pending` bytes left out. */
static enum ln_mllp_event end_frame(struct scan *s, size_t pending, struct ln_span *frame)
{
    struct ln_buf *part = &s->m->part;
    s->m->state = IDLE;
    if (part->len == 0) {
        *frame = ln_span(s->data + s->start, s->at - s->start - pending);
    } else {
        if (!keep(s))
            return LN_MLLP_NO_MEMORY;
        *frame = ln_span(part->data, part->len - pending);
    }
    if (frame->len == 0)
        count(s, LN_MLLP_EMPTY, 1);
    return LN_MLLP_FRAME;
}

/* One byte behind FS or FS LF. */
static enum ln_mllp_event behind_fs(struct scan *s, struct ln_span *frame)
{
    char c = s->data[s->at];
    bool lf = s->m->state == IN_FS_LF;
    if (c == LN_MLLP_CR && !lf) {
        enum ln_mllp_event e = end_frame(s, 1, frame);
        s->at++;
        return e;
    }
    if (c == LN_MLLP_VT) { /* left for the next frame */
        count(s, LN_MLLP_NO_CR, 1);
        count(s, LN_MLLP_JUNK, lf);
        return end_frame(s, lf ? 2 : 1, frame);
    }
    if (c == '\n' && !lf) {
        s->m->state = IN_FS_LF;
        s->at++;
    } else {
        count(s, LN_MLLP_FS_INSIDE, 1);
        s->m->state = IN;
    }
    return LN_MLLP_MORE;
}

static enum ln_mllp_event step(struct scan *s, struct ln_span *frame)
{
    int state = s->m->state;
    if (state <= IDLE_WORD)
        idle(s);
    else if (state < IN)
        idle_header(s);
    else if (state == IN)
        return inside(s) ? LN_MLLP_MORE : too_big(s, frame);
    else if (state < IN_VT)
        return behind_fs(s, frame);
    else
        inside_vt(s);
    return LN_MLLP_MORE;
}

enum ln_mllp_event ln_mllp_feed(struct ln_mllp *m, const char *data, size_t len, size_t *used,
                                struct ln_span *frame)
{
    struct scan s = {.m = m, .data = data, .len = len};
    enum ln_mllp_event e = LN_MLLP_MORE;
    *frame = ln_span(NULL, 0);
    *used = len;
    if (m->state == TOO_BIG)
        return LN_MLLP_TOO_BIG;
    if (m->state == NO_MEMORY)
        return LN_MLLP_NO_MEMORY;
    if (m->state <= IDLE_WORD)
        ln_buf_clear(&m->part, 0); /* an idle connection holds no memory */
    while (e == LN_MLLP_MORE && s.at < len)
        e = step(&s, frame);
    if (e == LN_MLLP_FRAME)
        *used = s.at;
    else if (e == LN_MLLP_MORE && m->state > IDLE_WORD && !keep(&s))
        e = LN_MLLP_NO_MEMORY;
    return e;
}

bool ln_mllp_pending_end(const struct ln_mllp *m)
{
    return m->state == IN_FS || m->state == IN_FS_LF;
}

enum ln_mllp_event ln_mllp_finish(struct ln_mllp *m, struct ln_span *frame)
{
    struct scan s = {.m = m, .data = ""};
    *frame = ln_span(NULL, 0);
    if (!ln_mllp_pending_end(m))
        return LN_MLLP_MORE;
    bool lf = m->state == IN_FS_LF;
    count(&s, LN_MLLP_NO_CR, 1);
    count(&s, LN_MLLP_JUNK, lf);
    return end_frame(&s, lf ? 2 : 1, frame);
}

size_t ln_mllp_held(const struct ln_mllp *m)
{
    return m->state >= IN ? m->part.len : 0;
}

bool ln_mllp_inside(const struct ln_mllp *m)
{
    return m->state >= IN && m->state < TOO_BIG;
}

int ln_mllp_write(struct ln_buf *out, struct ln_span data)
{
    if (ln_buf_reserve(out, data.len + 3) != LN_OK)
        return LN_ENOMEM;
    ln_buf_addc(out, LN_MLLP_VT);
    ln_buf_add_span(out, data);
    ln_buf_addc(out, LN_MLLP_FS);
    return ln_buf_addc(out, LN_MLLP_CR);
}
