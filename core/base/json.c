#include "base/json.h"

#include "base/utf8.h"

static void comma(struct ln_buf *b)
{
    if (b->len == 0)
        return;
    char c = b->data[b->len - 1];
    if (c != '{' && c != '[' && c != ':' && c != '\n')
        ln_buf_addc(b, ',');
}

void ln_json_open(struct ln_buf *b, char c)
{
    comma(b);
    ln_buf_addc(b, c);
}

void ln_json_close(struct ln_buf *b, char c)
{
    ln_buf_addc(b, c);
}

static void quoted(struct ln_buf *b, struct ln_span s)
{
    ln_buf_addc(b, '"');
    for (size_t i = 0; i < s.len;) {
        unsigned char c = (unsigned char)s.ptr[i];
        size_t n = ln_utf8_len((const unsigned char *)s.ptr + i, s.len - i);
        if (c == '"' || c == '\\') {
            ln_buf_addc(b, '\\');
            ln_buf_addc(b, (char)c);
        } else if (c == '\n') {
            ln_buf_adds(b, "\\n");
        } else if (c == '\r') {
            ln_buf_adds(b, "\\r");
        } else if (c == '\t') {
            ln_buf_adds(b, "\\t");
        } else if (c < 0x20 || c == 0x7f) {
            ln_buf_addf(b, "\\u%04x", c);
        } else if (n == 0) {
            ln_buf_adds(b, "\xef\xbf\xbd");
        } else {
            ln_buf_add(b, s.ptr + i, n);
        }
        i += n ? n : 1;
    }
    ln_buf_addc(b, '"');
}

void ln_json_key(struct ln_buf *b, const char *key)
{
    comma(b);
    quoted(b, ln_span_str(key));
    ln_buf_addc(b, ':');
}

void ln_json_str(struct ln_buf *b, struct ln_span s)
{
    comma(b);
    quoted(b, s);
}

void ln_json_cstr(struct ln_buf *b, const char *s)
{
    ln_json_str(b, ln_span_str(s));
}

void ln_json_int(struct ln_buf *b, int64_t v)
{
    comma(b);
    ln_buf_addf(b, "%lld", (long long)v);
}

void ln_json_num(struct ln_buf *b, double v, int decimals)
{
    comma(b);
    ln_buf_addf(b, "%.*f", decimals, v);
}

void ln_json_bool(struct ln_buf *b, bool v)
{
    comma(b);
    ln_buf_adds(b, v ? "true" : "false");
}

void ln_json_null(struct ln_buf *b)
{
    comma(b);
    ln_buf_adds(b, "null");
}
