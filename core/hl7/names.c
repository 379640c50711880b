#include "hl7/names.h"

#include "base/embed.h"

static const char *const versions[LN_NAMES_VERSIONS] = {
    "2.1", "2.2", "2.3",   "2.3.1", "2.4",   "2.5",   "2.5.1",
    "2.6", "2.7", "2.7.1", "2.8",   "2.8.1", "2.8.2",
};

#define VERSION_DEFAULT 7u /* 2.5.1 */

const char *ln_names_version_text(unsigned version)
{
    return versions[version >= 1 && version <= LN_NAMES_VERSIONS ? version - 1
                                                                 : VERSION_DEFAULT - 1];
}

/* "2.3.1" as 20301; 0 when it does not start like a version. */
static unsigned weight(const char *p, size_t len)
{
    unsigned part[3] = {0}, k = 0;
    for (size_t i = 0; i < len && k < 3; i++) {
        if (p[i] >= '0' && p[i] <= '9')
            part[k] = part[k] < 10 ? part[k] * 10 + (unsigned)(p[i] - '0') : 99;
        else if (p[i] == '.')
            k++;
        else
            break;
    }
    return part[0] * 10000 + (part[1] > 99 ? 99 : part[1]) * 100 + (part[2] > 99 ? 99 : part[2]);
}

unsigned ln_names_version(struct ln_span text)
{
    for (unsigned i = 0; i < LN_NAMES_VERSIONS; i++)
        if (ln_span_is(text, versions[i]))
            return i + 1;
    unsigned w = weight(text.ptr, text.len), best = VERSION_DEFAULT;
    if (w < 20000 || w >= 30000)
        return best;
    best = 1;
    for (unsigned i = 0; i < LN_NAMES_VERSIONS; i++)
        if (weight(versions[i], strlen(versions[i])) <= w)
            best = i + 1;
    return best;
}

static struct ln_span text_of(const char *text)
{
    static const char prefix[] = "lunate.dictionary.";
    for (const struct ln_embedded *e = ln_embedded; e->name; e++)
        if (strncmp(e->name, prefix, sizeof prefix - 1) == 0 &&
            strcmp(e->name + sizeof prefix - 1, text) == 0)
            return ln_span(e->text, e->len);
    return ln_span("", 0);
}

static const char *line_end(const char *p, const char *end)
{
    const char *eol = memchr(p, '\n', (size_t)(end - p));
    return eol ? eol : end;
}

bool ln_names_line(const char *text, struct ln_span key, struct ln_span *line)
{
    struct ln_span t = text_of(text);
    const char *p = t.ptr, *end = p + t.len, *eol;
    for (; p < end; p = eol + 1) {
        eol = line_end(p, end);
        if ((size_t)(eol - p) > key.len && p[key.len] == '|' && memcmp(p, key.ptr, key.len) == 0) {
            *line = ln_span(p + key.len + 1, (size_t)(eol - p) - key.len - 1);
            return true;
        }
    }
    return false;
}

bool ln_names_key(const char *text, const char **at, struct ln_span *key)
{
    struct ln_span t = text_of(text);
    const char *end = t.ptr + t.len, *p = *at ? *at : t.ptr;
    while (p < end) {
        const char *eol = line_end(p, end), *bar = memchr(p, '|', (size_t)(eol - p));
        bool comment = p[0] == '-' && eol - p > 1 && p[1] == '-'; /* the text's head */
        if (bar && !comment) {
            *key = ln_span(p, (size_t)(bar - p));
            *at = eol < end ? eol + 1 : end;
            return true;
        }
        p = eol + 1;
    }
    return false;
}

/* What stands before the next `stop`, which is skipped. */
static struct ln_span until(const char **at, const char *end, char stop)
{
    const char *from = *at, *e = memchr(from, stop, (size_t)(end - from));
    if (!e)
        e = end;
    *at = e < end ? e + 1 : end;
    return ln_span(from, (size_t)(e - from));
}

bool ln_names_open(struct ln_names *n, char kind, struct ln_span owner)
{
    char key[32] = {kind};
    struct ln_span line;
    if (owner.len >= sizeof key)
        return false;
    memcpy(key + 1, owner.ptr, owner.len);
    if (!ln_names_line("fields", ln_span(key, owner.len + 1), &line))
        return false;
    n->at = line.ptr;
    n->end = line.ptr + line.len;
    until(&n->at, n->end, '|'); /* entry 0 is the owner itself */
    return n->at < n->end;
}

bool ln_names_next(struct ln_names *n, struct ln_name *out)
{
    if (n->at >= n->end)
        return false;
    struct ln_span entry = until(&n->at, n->end, '|');
    const char *p = entry.ptr, *end = p + entry.len;
    struct ln_span number = until(&p, end, '^');
    out->number = 0;
    for (size_t i = 0; i < number.len; i++)
        out->number = out->number * 10 + (uint32_t)(number.ptr[i] - '0');
    out->name = until(&p, end, '^');
    out->type = until(&p, end, '^');
    out->ranges = until(&p, end, '^');
    return true;
}

static unsigned hex_version(char c)
{
    return c >= 'a' ? (unsigned)(c - 'a') + 10 : (unsigned)(c - '0');
}

unsigned ln_names_distance(const struct ln_name *name, unsigned version)
{
    const char *p = name->ranges.ptr, *end = p + name->ranges.len;
    unsigned best = p == end ? 0 : LN_NAMES_VERSIONS;
    while (p < end) {
        struct ln_span r = until(&p, end, ',');
        unsigned from = hex_version(r.ptr[0]), to = hex_version(r.ptr[r.len - 1]);
        unsigned d = version < from ? from - version : version > to ? version - to : 0;
        best = d < best ? d : best;
    }
    return best;
}

unsigned ln_names_difference(struct ln_span typed, struct ln_span name, unsigned limit)
{
    enum { MAX = 96 };
    unsigned row[MAX + 1];
    if (typed.len > MAX || name.len > MAX)
        return limit;
    for (size_t j = 0; j <= name.len; j++)
        row[j] = (unsigned)j;
    for (size_t i = 1; i <= typed.len; i++) {
        unsigned corner = row[0];
        row[0] = (unsigned)i * 2;
        for (size_t j = 1; j <= name.len; j++) {
            unsigned wrong = corner + (typed.ptr[i - 1] != name.ptr[j - 1] ? 2 : 0);
            unsigned missing = row[j - 1] + 1, extra = row[j] + 2;
            corner = row[j];
            row[j] = wrong < missing ? wrong : missing;
            row[j] = extra < row[j] ? extra : row[j];
        }
    }
    return row[name.len] < limit ? row[name.len] : limit;
}
