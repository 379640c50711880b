#include "hl7/path.h"

struct reader {
    struct ln_span text;
    size_t at;
    struct ln_err *err;
};

static int wrong(const struct reader *r, const char *what)
{
    int shown = r->text.len < 60 ? (int)r->text.len : 60;
    if (r->err)
        r->err->offset = r->at;
    return ln_err_set(r->err, LN_EINVAL, "wrong path \"%.*s\": %s at character %zu", shown,
                      r->text.ptr ? r->text.ptr : "", what, r->at + 1);
}

static int peek(const struct reader *r)
{
    return r->at < r->text.len ? (unsigned char)r->text.ptr[r->at] : -1;
}

static bool is_digit(int c)
{
    return c >= '0' && c <= '9';
}

static bool is_name(int c)
{
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || is_digit(c) || c == '_';
}

/* A number from 1 to max; what: what it counts. */
static int number(struct reader *r, uint32_t max, const char *missing, uint32_t *out)
{
    size_t from = r->at;
    uint64_t n = 0;
    while (is_digit(peek(r)) && n <= max) {
        n = n * 10 + (uint64_t)(peek(r) - '0');
        r->at++;
    }
    if (r->at == from)
        return wrong(r, missing);
    if (n == 0 || n > max) {
        r->at = from;
        return wrong(r, n == 0 ? "counted from 1, not 0," : "number too large");
    }
    *out = (uint32_t)n;
    return LN_OK;
}

/* [n] or [*], when it is there. */
static int index_of(struct reader *r, uint32_t *out)
{
    if (peek(r) != '[')
        return LN_OK;
    r->at++;
    if (peek(r) == '*') {
        r->at++;
        *out = LN_PATH_ALL;
    } else {
        int rc = number(r, LN_PATH_INDEX_MAX, "expected a number or * in [ ]", out);
        if (rc)
            return rc;
    }
    if (peek(r) != ']')
        return wrong(r, "expected ]");
    r->at++;
    return LN_OK;
}

static int name_of(struct reader *r, struct ln_path *path)
{
    while (is_name(peek(r))) {
        if (r->at == LN_PATH_NAME_MAX)
            return wrong(r, "segment name too long");
        path->name[r->at] = r->text.ptr[r->at];
        r->at++;
    }
    path->name_len = (uint32_t)r->at;
    path->name[r->at] = '\0';
    return r->at ? LN_OK : wrong(r, "expected a segment name");
}

static int parts_of(struct reader *r, struct ln_path *path)
{
    int rc = number(r, LN_PATH_PART_MAX, "expected a field number", &path->field);
    if (rc)
        return rc;
    if ((rc = index_of(r, &path->repetition)))
        return rc;
    if (peek(r) != '.')
        return LN_OK;
    r->at++;
    if ((rc = number(r, LN_PATH_PART_MAX, "expected a component number", &path->component)))
        return rc;
    if (peek(r) != '.')
        return LN_OK;
    r->at++;
    return number(r, LN_PATH_PART_MAX, "expected a subcomponent number", &path->subcomponent);
}

int ln_path_parse(struct ln_span text, struct ln_path *path, struct ln_err *err)
{
    struct reader r = {.text = text, .err = err};
    path->segment = 1;
    path->field = path->repetition = path->component = path->subcomponent = 0;
    int rc = name_of(&r, path);
    if (rc)
        return rc;
    if ((rc = index_of(&r, &path->segment)))
        return rc;
    if (peek(&r) == '-') {
        r.at++;
        if ((rc = parts_of(&r, path)))
            return rc;
    }
    if (r.at < text.len)
        return wrong(&r, path->field ? "unexpected character" : "expected - and a field number");
    return LN_OK;
}

int ln_path_parse_field(struct ln_span text, struct ln_path *path, struct ln_err *err)
{
    struct reader r = {.text = text, .err = err};
    path->name_len = 0;
    path->name[0] = '\0';
    path->segment = 1;
    path->field = path->repetition = path->component = path->subcomponent = 0;
    int rc = parts_of(&r, path);
    if (rc == LN_OK && r.at < text.len)
        return wrong(&r, "unexpected character");
    return rc;
}

bool ln_path_many(const struct ln_path *path)
{
    return path->segment == LN_PATH_ALL || path->repetition == LN_PATH_ALL;
}
