#include "base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/json.h"

#define LINE_MAX_LEN 2048

static const char *const names[] = {"debug", "info", "warn", "error"};
static enum ln_level threshold = LN_INFO;
static int form = -1; /* not decided yet */
static int out = STDERR_FILENO;
static char *out_path;

void ln_log_set_level(enum ln_level level)
{
    threshold = level;
}

void ln_log_set_form(enum ln_log_form f)
{
    form = (int)f;
}

/* systemd names the device and inode of the journal's socket, so that a program knows whether its
 * stderr still is that. */
static enum ln_log_form find_form(void)
{
    const char *journal = getenv("JOURNAL_STREAM");
    unsigned long long dev, ino;
    struct stat st;
    return journal && sscanf(journal, "%llu:%llu", &dev, &ino) == 2 && fstat(out, &st) == 0 &&
                   st.st_dev == dev && st.st_ino == ino
               ? LN_LOG_JOURNAL
               : LN_LOG_TEXT;
}

int ln_log_open(const char *path)
{
    char *copy = strdup(path);
    int fd = copy ? open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640) : -1;
    if (fd < 0) {
        free(copy);
        return LN_EIO;
    }
    if (out != STDERR_FILENO)
        close(out);
    free(out_path);
    out = fd;
    out_path = copy;
    return LN_OK;
}

void ln_log_reopen(void)
{
    int fd = out_path ? open(out_path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640) : -1;
    if (fd < 0) /* the old file still takes lines */
        return;
    close(out);
    out = fd;
}

/* Where the value that starts at p ends: at its closing quote, if what follows is the end or a next
 * pair, else at a blank. */
static const char *value_end(const char *p)
{
    if (*p != '"')
        return p + strcspn(p, " ");
    for (const char *q = strchr(p + 1, '"'); q; q = strchr(q + 1, '"')) {
        const char *next = q + 1 + strspn(q + 1, " ");
        size_t key = strspn(next, "abcdefghijklmnopqrstuvwxyz0123456789_");
        if (!*next || (next > q + 1 && key && next[key] == '='))
            return q + 1;
    }
    return p + strlen(p);
}

/* Every value is a string, so that a key has the same type in all lines. */
static void json_pairs(struct ln_buf *b, char *pairs)
{
    for (char *p = pairs + strspn(pairs, " "); *p; p += strspn(p, " ")) {
        char *equals = strchr(p, '=');
        if (!equals)
            break;
        *equals = '\0';
        ln_json_key(b, p);
        const char *value = equals + 1, *end = value_end(value);
        size_t len = (size_t)(end - value);
        if (len >= 2 && value[0] == '"' && end[-1] == '"')
            ln_json_str(b, ln_span(value + 1, len - 2));
        else
            ln_json_str(b, ln_span(value, len));
        p = equals + 1 + len;
    }
}

/* `pairs` is changed. */
static void write_json(enum ln_level level, const char *area, const char *event, char *pairs)
{
    struct ln_buf b = {0};
    char when[40];
    ln_iso_time(ln_now_us(), when, sizeof when);
    ln_json_open(&b, '{');
    const char *const head[] = {"time", when, "level", names[level], "area", area, "event", event};
    for (size_t i = 0; i < sizeof head / sizeof *head; i += 2) {
        ln_json_key(&b, head[i]);
        ln_json_cstr(&b, head[i + 1]);
    }
    json_pairs(&b, pairs);
    ln_json_close(&b, '}');
    ln_buf_addc(&b, '\n');
    if (!b.failed && write(out, b.data, b.len) < 0) { /* nobody left to tell */
    }
    ln_buf_fini(&b);
}

/* Quotes within a quoted value get a backslash, so that a line can be read back. */
static void escape(const char *pairs, char *to, size_t cap)
{
    size_t n = 0;
    for (const char *p = pairs; *p && n + 2 < cap;) {
        const char *equals = strchr(p, '=');
        const char *end = equals && equals[1] == '"' ? value_end(equals + 1) : NULL;
        const char *stop = equals ? equals + 1 : p + strlen(p);
        while (p < stop && n + 2 < cap)
            to[n++] = *p++;
        while (end && p < end && n + 2 < cap) {
            bool inner = *p == '"' && p != equals + 1 && p != end - 1;
            if (inner)
                to[n++] = '\\';
            to[n++] = *p++;
        }
    }
    to[n] = '\0';
}

static void write_text(enum ln_level level, const char *area, const char *event, const char *pairs)
{
    static const int priority[] = {7, 6, 4, 3}; /* as syslog has them */
    char line[LINE_MAX_LEN], escaped[LINE_MAX_LEN], when[40];
    int n;
    escape(pairs, escaped, sizeof escaped);
    pairs = escaped;
    if (form == LN_LOG_JOURNAL) {
        n = snprintf(line, sizeof line, "<%d>%s %s%s%s", priority[level], area, event,
                     *pairs ? " " : "", pairs);
    } else {
        ln_iso_time(ln_now_us(), when, sizeof when);
        n = snprintf(line, sizeof line, "%s %s %s %s%s%s", when, names[level], area, event,
                     *pairs ? " " : "", pairs);
    }
    if ((size_t)n > sizeof line - 1)
        n = (int)sizeof line - 1;
    line[n++] = '\n';
    if (write(out, line, (size_t)n) < 0) { /* nobody left to tell */
    }
}

void ln_log(enum ln_level level, const char *area, const char *event, const char *fmt, ...)
{
    char pairs[LINE_MAX_LEN] = "";
    if (level < threshold)
        return;
    int saved = errno;
    if (form < 0)
        form = (int)find_form();
    if (fmt && *fmt) {
        va_list ap;
        va_start(ap, fmt);
        if (vsnprintf(pairs, sizeof pairs, fmt, ap) < 0)
            pairs[0] = '\0';
        va_end(ap);
    }
    for (char *p = pairs; *p; p++) /* one event stays one line, whatever a peer or a script sent */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    if (form == LN_LOG_JSON)
        write_json(level, area, event, pairs);
    else
        write_text(level, area, event, pairs);
    errno = saved;
}
