#include "ipc/wire.h"

size_t ln_wire_begin(struct ln_buf *b, uint8_t type)
{
    size_t start = b->len;
    b->failed = false;
    ln_wire_u32(b, 0);
    ln_wire_u8(b, type);
    return start;
}

int ln_wire_end(struct ln_buf *b, size_t start)
{
    if (b->failed || b->len - start - 4 > LN_WIRE_MAX) {
        b->len = start;
        return LN_ENOMEM;
    }
    uint32_t n = (uint32_t)(b->len - start - 4);
    for (int i = 0; i < 4; i++)
        b->data[start + (size_t)i] = (char)(n >> (8 * i));
    return LN_OK;
}

void ln_wire_head(struct ln_buf *b, uint8_t type, size_t len)
{
    ln_wire_u32(b, (uint32_t)(len + 1));
    ln_wire_u8(b, type);
}

static void put(struct ln_buf *b, uint64_t v, int n)
{
    char bytes[8];
    for (int i = 0; i < n; i++)
        bytes[i] = (char)(v >> (8 * i));
    ln_buf_add(b, bytes, (size_t)n);
}

void ln_wire_u8(struct ln_buf *b, uint8_t v)
{
    put(b, v, 1);
}

void ln_wire_u16(struct ln_buf *b, uint16_t v)
{
    put(b, v, 2);
}

void ln_wire_u32(struct ln_buf *b, uint32_t v)
{
    put(b, v, 4);
}

void ln_wire_u64(struct ln_buf *b, uint64_t v)
{
    put(b, v, 8);
}

void ln_wire_f64(struct ln_buf *b, double v)
{
    uint64_t u;
    memcpy(&u, &v, sizeof u);
    put(b, u, 8);
}

void ln_wire_bytes(struct ln_buf *b, struct ln_span s)
{
    if (s.len > LN_WIRE_MAX) {
        b->failed = true;
        return;
    }
    ln_wire_u32(b, (uint32_t)s.len);
    ln_buf_add_span(b, s);
}

int ln_wire_next(const char *data, size_t len, size_t max, uint8_t *type, struct ln_wire_in *in,
                 size_t *used)
{
    *used = 0;
    if (len < LN_WIRE_HEADER)
        return LN_EAGAIN;
    struct ln_wire_in head = {data, data + 4, false};
    size_t n = ln_wire_get_u32(&head);
    if (n == 0 || n > max || n > LN_WIRE_MAX)
        return LN_EPARSE;
    *used = n + 4;
    if (len < n + 4)
        return LN_EAGAIN;
    *type = (uint8_t)data[4];
    *in = (struct ln_wire_in){data + LN_WIRE_HEADER, data + 4 + n, false};
    return LN_OK;
}

static uint64_t get(struct ln_wire_in *in, int n)
{
    uint64_t v = 0;
    if (in->bad || in->end - in->ptr < n) {
        in->bad = true;
        return 0;
    }
    for (int i = 0; i < n; i++)
        v |= (uint64_t)(unsigned char)in->ptr[i] << (8 * i);
    in->ptr += n;
    return v;
}

uint8_t ln_wire_get_u8(struct ln_wire_in *in)
{
    return (uint8_t)get(in, 1);
}

uint16_t ln_wire_get_u16(struct ln_wire_in *in)
{
    return (uint16_t)get(in, 2);
}

uint32_t ln_wire_get_u32(struct ln_wire_in *in)
{
    return (uint32_t)get(in, 4);
}

uint64_t ln_wire_get_u64(struct ln_wire_in *in)
{
    return get(in, 8);
}

double ln_wire_get_f64(struct ln_wire_in *in)
{
    uint64_t u = get(in, 8);
    double v;
    memcpy(&v, &u, sizeof v);
    return v;
}

struct ln_span ln_wire_get_bytes(struct ln_wire_in *in)
{
    size_t n = ln_wire_get_u32(in);
    if (in->bad || (size_t)(in->end - in->ptr) < n) {
        in->bad = true;
        return ln_span(NULL, 0);
    }
    struct ln_span s = ln_span(in->ptr, n);
    in->ptr += n;
    return s;
}

bool ln_wire_done(const struct ln_wire_in *in)
{
    return !in->bad && in->ptr == in->end;
}
