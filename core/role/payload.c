#include "role/payload.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "hl7/ack.h"
#include "hl7/header.h"
#include "hl7/mllp.h"

static int read_file(const char *path, struct ln_buf *out, struct ln_err *err)
{
    bool standard = strcmp(path, "-") == 0;
    int rc = LN_OK, fd = standard ? STDIN_FILENO : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return ln_err_set(err, ln_code_from_errno(errno), "%s: %s", path, strerror(errno));
    for (;;) {
        if ((rc = ln_buf_reserve(out, 65536)) != LN_OK) {
            ln_err_set(err, rc, "%s: %s", path, ln_strerror(rc));
            break;
        }
        ssize_t n = read(fd, out->data + out->len, out->cap - out->len);
        if (n > 0)
            out->len += (size_t)n;
        else if (n == 0)
            break;
        else if (errno != EINTR) {
            rc = ln_err_set(err, ln_code_from_errno(errno), "%s: %s", path, strerror(errno));
            break;
        }
    }
    if (!standard)
        close(fd);
    return rc;
}

static bool has_bare_cr(struct ln_span s)
{
    for (const char *p = s.ptr, *end = s.ptr + s.len; p < end; p++) {
        p = memchr(p, '\r', (size_t)(end - p));
        if (!p)
            return false;
        if (p + 1 == end || p[1] != '\n')
            return true;
    }
    return false;
}

/* Appends s with CR as its segment end. */
static void convert(struct ln_buf *out, struct ln_span s)
{
    bool lf_is_data = has_bare_cr(s);
    while (s.len && (s.ptr[s.len - 1] == '\r' || s.ptr[s.len - 1] == '\n'))
        s.len--;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];
        if (c == '\r' && i + 1 < s.len && s.ptr[i + 1] == '\n')
            i++;
        ln_buf_addc(out, c == '\n' && !lf_is_data ? '\r' : c);
    }
    ln_buf_addc(out, '\r');
}

/* Where MSH-10 ends within the header segment; *missing = separators to be put in before that. */
static size_t find_id_end(struct ln_span segment, char separator, size_t *missing)
{
    size_t seen = 0, i = 0;
    for (; i < segment.len; i++)
        if (segment.ptr[i] == separator && ++seen == 10)
            break;
    *missing = seen < 9 ? 9 - seen : 0;
    return i;
}

/* Notes id and type of the message in frame[1..len); with need_id puts in the separators
 * that MSH-10 needs. */
static int note_header(struct ln_payload_message *m, struct ln_buf *frame, bool need_id)
{
    struct ln_header h;
    struct ln_err ignored;
    size_t missing;
    if (ln_header_read(ln_span(frame->data + 1, frame->len - 1), &h, &ignored) != LN_OK)
        return LN_OK; /* sent all the same: `whole` may be used to send what is wrong */
    if (h.kind != LN_HEADER_MSH)
        return LN_OK; /* a batch: its answer names its messages */
    size_t end = (size_t)(h.segment.ptr - frame->data);
    end += find_id_end(h.segment, h.delims.field, &missing);
    if (!need_id)
        missing = 0;
    if (ln_buf_reserve(frame, missing) != LN_OK)
        return LN_ENOMEM;
    memmove(frame->data + end + missing, frame->data + end, frame->len - end);
    memset(frame->data + end, h.delims.field, missing);
    frame->len += missing;
    m->id_end = end + missing;
    return LN_OK;
}

/* Sets the spans, once the frame will not move again. */
static void set_spans(struct ln_payload_message *m)
{
    struct ln_header h;
    struct ln_err ignored;
    if (m->id_end == 0 || ln_header_read(ln_span(m->frame + 1, m->len - 3), &h, &ignored) != LN_OK)
        return;
    struct ln_ack_wish wish = ln_ack_wish_read(&h);
    m->unasked =
        !ln_ack_is_due(wish.accept, LN_ACK_CA) && !ln_ack_is_due(wish.application, LN_ACK_AA);
    m->never = wish.accept == LN_ACK_NEVER && wish.application == LN_ACK_NEVER;
    m->id = h.field[10];
    m->type = ln_header_component(&h, 9, 1);
    struct ln_span event = ln_header_component(&h, 9, 2);
    if (m->type.len == 0)
        m->type = event;
    else if (event.len > 0) /* they stand side by side, with the sender's separator between them */
        m->type.len = (size_t)(event.ptr + event.len - m->type.ptr);
}

static int add_message(struct ln_payload *p, struct ln_span bytes)
{
    struct ln_buf b = {0};
    if (p->n == p->cap) {
        size_t cap = p->cap ? p->cap * 2 : 16;
        void *grown = realloc(p->message, cap * sizeof *p->message);
        if (!grown)
            return LN_ENOMEM;
        p->message = grown;
        p->cap = cap;
    }
    struct ln_payload_message *m = &p->message[p->n];
    memset(m, 0, sizeof *m);
    ln_buf_addc(&b, LN_MLLP_VT);
    if (p->raw_bytes)
        ln_buf_add_span(&b, bytes);
    else
        convert(&b, bytes);
    if (b.failed || note_header(m, &b, p->need_id) != LN_OK)
        goto fail;
    ln_buf_addc(&b, LN_MLLP_FS);
    ln_buf_addc(&b, LN_MLLP_CR);
    if (b.failed)
        goto fail;
    m->frame = b.data;
    m->len = b.len;
    set_spans(m);
    p->n++;
    return LN_OK;
fail:
    ln_buf_fini(&b);
    return LN_ENOMEM;
}

/* The messages of a file's text, or of one frame. */
static int add_text(struct ln_payload *p, struct ln_span text)
{
    struct ln_span message;
    size_t pos = 0;
    int rc = LN_OK;
    if (p->whole)
        return add_message(p, text);
    while (rc == LN_OK && ln_batch_next(text, &pos, &message))
        rc = add_message(p, message);
    return rc;
}

static int add_frames(struct ln_payload *p, struct ln_span text)
{
    struct ln_mllp reader;
    struct ln_span frame;
    size_t used;
    int rc = LN_OK;
    ln_mllp_init(&reader, 0);
    while (rc == LN_OK) {
        enum ln_mllp_event e = ln_mllp_feed(&reader, text.ptr, text.len, &used, &frame);
        text = ln_span(text.ptr + used, text.len - used);
        if (e == LN_MLLP_MORE && ln_mllp_pending_end(&reader))
            e = ln_mllp_finish(&reader, &frame);
        if (e == LN_MLLP_MORE)
            break;
        rc = e == LN_MLLP_FRAME ? add_text(p, frame) : LN_ENOMEM;
    }
    if (rc == LN_OK && ln_mllp_inside(&reader))
        rc = LN_EPARSE;
    ln_mllp_fini(&reader);
    return rc;
}

int ln_payload_add_bytes(struct ln_payload *p, struct ln_span bytes)
{
    size_t start = 0;
    while (start < bytes.len && memchr(" \t\r\n", bytes.ptr[start], 4))
        start++;
    if (start < bytes.len && bytes.ptr[start] == LN_MLLP_VT)
        return add_frames(p, bytes);
    return add_text(p, bytes);
}

/* A line that nearly begins a message says what it lacks. */
static int no_message(const char *path, struct ln_span text, struct ln_err *err)
{
    struct ln_header h;
    struct ln_err why = {0};
    const char *p = text.ptr, *end = text.ptr + text.len;
    while ((p = memmem(p, (size_t)(end - p), "MSH", 3))) {
        bool first = p == text.ptr || strchr("\r\n\v \t", p[-1]);
        if (first && ln_header_read(ln_span(p, (size_t)(end - p)), &h, &why) != LN_OK)
            return ln_err_set(err, LN_EPARSE,
                              "%s: no message found: byte %zu: %s (--whole sends it anyway)", path,
                              (size_t)(p - text.ptr), why.text);
        p += 3;
    }
    return ln_err_set(err, LN_EPARSE,
                      "%s: no message found: no line starts with MSH (--whole sends it anyway)",
                      path);
}

int ln_payload_add_file(struct ln_payload *p, const char *path, struct ln_err *err)
{
    struct ln_buf b = {0};
    size_t had = p->n;
    int rc = read_file(path, &b, err);
    if (rc != LN_OK)
        goto out;
    if (b.len == 0) {
        rc = ln_err_set(err, LN_EPARSE, "%s: the file is empty", path);
        goto out;
    }
    rc = ln_payload_add_bytes(p, ln_buf_span(&b));
    if (rc == LN_EPARSE)
        ln_err_set(err, rc, "%s: the file ends inside an MLLP frame", path);
    else if (rc != LN_OK)
        ln_err_set(err, rc, "%s: %s", path, ln_strerror(rc));
    else if (p->n == had)
        rc = no_message(path, ln_buf_span(&b), err);
out:
    ln_buf_fini(&b);
    return rc;
}

void ln_payload_fini(struct ln_payload *p)
{
    for (size_t i = 0; i < p->n; i++)
        free(p->message[i].frame);
    free(p->message);
    p->message = NULL;
    p->n = p->cap = 0;
}
