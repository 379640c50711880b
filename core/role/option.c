#include "role/option.h"

#include <ctype.h>
#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "role/role.h"

int ln_option_usage(const char *verb, const char *fmt, ...)
{
    char text[400];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    fprintf(stderr, "lunate %s: %s (see `lunate help %s`)\n", verb, text, verb);
    return LN_EXIT_USAGE;
}

/* A name that starts alike, for the hint; NULL when none does. */
static const char *nearest(const char *word, size_t len, const struct ln_option *options)
{
    const char *best = NULL;
    size_t best_len = 1; /* two letters alike at least */
    for (const struct ln_option *o = options; o->name; o++) {
        size_t n = 0;
        while (n < len && o->name[n] && o->name[n] == word[n])
            n++;
        if (n > best_len) {
            best = o->name;
            best_len = n;
        }
    }
    return best;
}

static const struct ln_option *find(const char *word, size_t len, const struct ln_option *options)
{
    for (const struct ln_option *o = options; o->name; o++)
        if (strlen(o->name) == len && memcmp(o->name, word, len) == 0)
            return o;
    return NULL;
}

static bool store(const struct ln_option *o, const char *text)
{
    char *end;
    errno = 0;
    if (o->kind == LN_OPTION_WORD) {
        *(const char **)o->value = text;
        return true;
    }
    if (o->kind == LN_OPTION_COUNT) {
        unsigned long long v = strtoull(text, &end, 10);
        if (!isdigit((unsigned char)*text) || *end || errno || v == 0)
            return false;
        *(uint64_t *)o->value = v;
        return true;
    }
    double v = strtod(text, &end);
    if (!(isdigit((unsigned char)*text) || *text == '.') || *end || errno || !isfinite(v))
        return false;
    *(double *)o->value = v;
    return true;
}

/* Reads the option at argv[*i]; moves *i on to its value. */
static bool option(const char *verb, int argc, char **argv, int *i, const struct ln_option *options)
{
    const char *word = argv[*i] + 2, *eq = strchr(word, '=');
    size_t len = eq ? (size_t)(eq - word) : strlen(word);
    const struct ln_option *o = find(word, len, options);
    if (!o) {
        const char *near = nearest(word, len, options);
        ln_option_usage(verb, "unknown option --%.*s%s%s%s", (int)len, word,
                        near ? ", did you mean --" : "", near ? near : "", near ? "?" : "");
        return false;
    }
    if (o->kind == LN_OPTION_FLAG) {
        if (eq)
            ln_option_usage(verb, "--%s takes no value", o->name);
        *(bool *)o->value = true;
        return !eq;
    }
    if (!eq && *i + 1 >= argc) {
        ln_option_usage(verb, "--%s needs a value", o->name);
        return false;
    }
    const char *text = eq ? eq + 1 : argv[++*i];
    if (store(o, text))
        return true;
    ln_option_usage(verb, "--%s needs a %s, not \"%s\"", o->name,
                    o->kind == LN_OPTION_COUNT ? "whole number above 0" : "number", text);
    return false;
}

int ln_option_parse(int argc, char **argv, const struct ln_option *options)
{
    int words = 0;
    for (int i = 2; i < argc; i++) {
        if (strcmp(argv[i], "--") == 0) {
            for (i++; i < argc; i++)
                argv[2 + words++] = argv[i];
        } else if (strncmp(argv[i], "--", 2) == 0) {
            if (!option(argv[1], argc, argv, &i, options))
                return -1;
        } else if (argv[i][0] == '-' && argv[i][1]) {
            ln_option_usage(argv[1], "unknown option %s", argv[i]);
            return -1;
        } else {
            argv[2 + words++] = argv[i];
        }
    }
    return words;
}

bool ln_option_address(const char *text, char *host, size_t host_cap, char *port, size_t port_cap)
{
    const char *colon = strrchr(text, ':');
    if (!colon || colon == text || !colon[1] || strlen(colon + 1) >= port_cap)
        return false;
    const char *from = text, *to = colon;
    if (*text == '[') {
        if (colon[-1] != ']')
            return false;
        from++;
        to--;
    } else if (memchr(text, ':', (size_t)(colon - text))) {
        return false; /* an IPv6 address needs its brackets */
    }
    size_t n = (size_t)(to - from);
    char *end;
    unsigned long v = strtoul(colon + 1, &end, 10);
    if (n == 0 || n >= host_cap || *end || v == 0 || v > 65535)
        return false;
    memcpy(host, from, n);
    host[n] = '\0';
    strcpy(port, colon + 1);
    return true;
}
