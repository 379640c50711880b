#include "script/trace_source.h"

#include <string.h>

uint32_t ln_trace_count_lines(const struct ln_file *file)
{
    uint32_t n = 0;
    const char *p = file->data, *end = p + file->len;
    while (p < end && (p = memchr(p, '\n', (size_t)(end - p)))) {
        n++;
        p++;
    }
    return n + 1;
}

struct ln_span ln_trace_line(const struct ln_file *file, int n)
{
    const char *p = file->data, *end = p + file->len;
    while (--n > 0) {
        p = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
        if (!p)
            return ln_span(end, 0);
        p++;
    }
    const char *stop = p < end ? memchr(p, '\n', (size_t)(end - p)) : NULL;
    return ln_span(p, (size_t)((stop ? stop : end) - p));
}

static bool is_name(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_';
}

/* Behind a string that begins at i. */
static size_t skip_string(struct ln_span line, size_t i)
{
    char quote = line.ptr[i++];
    while (i < line.len && line.ptr[i] != quote)
        i += line.ptr[i] == '\\' ? 2 : 1;
    return i + 1;
}

/* The name at line[start..end) stands as a word before it, too. */
static bool stands_before(struct ln_span line, size_t start, size_t end)
{
    size_t len = end - start;
    for (size_t i = 0; i + len <= start; i++)
        if (memcmp(line.ptr + i, line.ptr + start, len) == 0 && !is_name(line.ptr[i + len]) &&
            (i == 0 || (!is_name(line.ptr[i - 1]) && !strchr(".:\"'", line.ptr[i - 1]))))
            return true;
    return false;
}

bool ln_trace_next_word(struct ln_span line, struct ln_trace_word *word)
{
    const char *s = line.ptr;
    size_t i = word->at;
    while (i < line.len) {
        if (s[i] == '"' || s[i] == '\'') {
            i = skip_string(line, i);
            continue;
        }
        if (s[i] == '-' && i + 1 < line.len && s[i + 1] == '-')
            break;
        if (!is_name(s[i])) {
            i++;
            continue;
        }
        size_t start = i;
        while (i < line.len && is_name(s[i]))
            i++;
        bool part = start > 0 && (s[start - 1] == ':' ||
                                  (s[start - 1] == '.' && (start < 2 || s[start - 2] != '.')));
        if (part || (s[start] >= '0' && s[start] <= '9'))
            continue;
        size_t behind = i;
        while (behind < line.len && s[behind] == ' ')
            behind++;
        word->name = ln_span(s + start, i - start);
        word->target = behind < line.len && s[behind] == '=' &&
                       (behind + 1 >= line.len || s[behind + 1] != '=');
        word->again = stands_before(line, start, i);
        word->at = i;
        return true;
    }
    return false;
}
