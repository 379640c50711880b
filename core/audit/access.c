#include "audit/access.h"

#include <stdlib.h>
#include <string.h>

static const char *const roles[] = {"none", "observer", "viewer", "operator", "developer", "admin"};

const char *ln_role_name(enum ln_role role)
{
    return roles[role <= LN_ROLE_ADMIN ? role : 0];
}

enum ln_role ln_role_of(struct ln_span name)
{
    for (int i = LN_ROLE_ADMIN; i > LN_ROLE_NONE; i--)
        if (ln_span_is(name, roles[i]))
            return (enum ln_role)i;
    return LN_ROLE_NONE;
}

enum {
    RECORD = LN_RIGHT_RECORDED,
    SHOW = LN_RIGHT_RECORDED | LN_RIGHT_STRICT | LN_RIGHT_VIEW,
    STRICT = LN_RIGHT_RECORDED | LN_RIGHT_STRICT,
    SITE = LN_RIGHT_SITE,
    LOCAL = LN_RIGHT_LOCAL,
    OWNER = LN_RIGHT_OWNER,
};

/* Every verb there is, of the command line and of the control socket: tests/audit/access_spec.lua
 * compares. */
static const struct ln_right rights[] = {
    {"status", LN_ROLE_OBSERVER, 0},
    {"top", LN_ROLE_OBSERVER, 0},
    {"metrics", LN_ROLE_OBSERVER, 0},
    {"view", LN_ROLE_OBSERVER, 0}, /* of a verb with LN_RIGHT_VIEW, which has a right of its own */
    {"head", LN_ROLE_OBSERVER, 0},
    {"version", LN_ROLE_NONE, LOCAL},
    {"messages", LN_ROLE_OBSERVER, SHOW},
    {"tail", LN_ROLE_OBSERVER, SHOW},
    {"show", LN_ROLE_OBSERVER, SHOW},
    {"trace", LN_ROLE_OBSERVER, SHOW},
    {"profile", LN_ROLE_VIEWER, SHOW},
    {"hold", LN_ROLE_OPERATOR, RECORD},
    {"release", LN_ROLE_OPERATOR, RECORD},
    {"step", LN_ROLE_OPERATOR, RECORD},
    {"start", LN_ROLE_OPERATOR, RECORD},
    {"stop", LN_ROLE_OPERATOR, RECORD},
    {"drain", LN_ROLE_OPERATOR, RECORD},
    {"pause", LN_ROLE_OPERATOR, RECORD},
    {"resume", LN_ROLE_OPERATOR, RECORD},
    {"skip", LN_ROLE_OPERATOR, RECORD},
    {"reposition", LN_ROLE_OPERATOR, STRICT},
    {"resend", LN_ROLE_OPERATOR, SHOW}, /* a view finds, requests send */
    {"edit", LN_ROLE_OPERATOR, STRICT},
    {"settle", LN_ROLE_OPERATOR, RECORD | LN_RIGHT_VIEW},
    {"reload", LN_ROLE_DEVELOPER, RECORD},
    {"rollback", LN_ROLE_DEVELOPER, RECORD},
    {"versions", LN_ROLE_DEVELOPER, SHOW},
    {"alerts", LN_ROLE_OPERATOR, RECORD | SITE},
    {"key", LN_ROLE_ADMIN, RECORD | SITE},
    {"replay", LN_ROLE_DEVELOPER, SHOW},
    {"audit", LN_ROLE_ADMIN, STRICT | LN_RIGHT_VIEW | SITE},
    {"token", LN_ROLE_ADMIN, STRICT | LN_RIGHT_VIEW | SITE},
    {"verify", LN_ROLE_ADMIN, SITE | OWNER},
    {"backup", LN_ROLE_ADMIN, STRICT | SITE | OWNER},
    {"restore", LN_ROLE_ADMIN, STRICT | SITE | OWNER},
    {"run", LN_ROLE_ADMIN, RECORD | SITE | OWNER},
    {"repl", LN_ROLE_VIEWER, LOCAL},
    {"new", LN_ROLE_NONE, LOCAL},
    {"check", LN_ROLE_NONE, LOCAL},
    {"tutor", LN_ROLE_NONE, LOCAL},
    {"eval", LN_ROLE_NONE, LOCAL},
    {"test", LN_ROLE_NONE, LOCAL},
    {"send", LN_ROLE_NONE, LOCAL},
    {"listen", LN_ROLE_NONE, LOCAL},
    {"fmt", LN_ROLE_NONE, LOCAL},
    {"diff", LN_ROLE_NONE, LOCAL},
    {"json", LN_ROLE_NONE, LOCAL},
    {"deid", LN_ROLE_NONE, LOCAL},
    {"query", LN_ROLE_NONE, LOCAL},
    {"validate", LN_ROLE_NONE, LOCAL},
    {"tls", LN_ROLE_NONE, LOCAL},
    {"lua", LN_ROLE_NONE, LOCAL},
    {"completion", LN_ROLE_NONE, LOCAL},
    {"help", LN_ROLE_NONE, LOCAL},
};

const struct ln_right *ln_right_at(size_t i)
{
    return i < sizeof rights / sizeof *rights ? &rights[i] : NULL;
}

const struct ln_right *ln_right_of(const char *verb)
{
    for (size_t i = 0; i < sizeof rights / sizeof *rights; i++)
        if (strcmp(rights[i].verb, verb) == 0)
            return &rights[i];
    return NULL;
}

/* ---- grants ---- */

static struct ln_span word(struct ln_span *line)
{
    const char *blank = line->len ? memchr(line->ptr, ' ', line->len) : NULL;
    struct ln_span w = ln_span(line->ptr, blank ? (size_t)(blank - line->ptr) : line->len);
    size_t used = w.len + (blank ? 1 : 0);
    *line = ln_span(line->ptr + used, line->len - used);
    return w;
}

int ln_access_add(struct ln_access *a, struct ln_span line)
{
    static const char *const kinds[] = {"", "user", "group", "glass-user", "glass-group"};
    struct ln_span kind = word(&line), id = word(&line), name = word(&line), role = word(&line);
    struct ln_grant g = {.role = ln_role_of(role)};
    for (int i = LN_GRANT_USER; i <= LN_GRANT_GLASS_GROUP; i++)
        if (ln_span_is(kind, kinds[i]))
            g.kind = (enum ln_grant_kind)i;
    for (size_t i = 0; i < id.len; i++) {
        if (id.ptr[i] < '0' || id.ptr[i] > '9' || i > 9)
            return LN_EPARSE;
        g.id = g.id * 10 + (id.ptr[i] - '0');
    }
    if (!g.kind || !g.role || !id.len || !line.len || a->ngrant >= 10000)
        return LN_EPARSE;
    struct ln_grant *list = realloc(a->grant, (a->ngrant + 1) * sizeof *list);
    if (!list)
        return LN_ENOMEM;
    a->grant = list;
    g.name = strndup(name.ptr, name.len);
    g.channels = strndup(line.ptr, line.len);
    list[a->ngrant++] = g;
    return g.name && g.channels ? LN_OK : LN_ENOMEM;
}

void ln_access_fini(struct ln_access *a)
{
    for (unsigned i = 0; i < a->ngrant; i++) {
        free(a->grant[i].name);
        free(a->grant[i].channels);
    }
    free(a->grant);
    free(a->socket);
    *a = (struct ln_access){0};
}

/* pattern[0..len) against text; * stands for any characters. */
static bool fits(const char *pattern, size_t len, const char *text)
{
    size_t star = len, again = 0, p = 0, t = 0;
    while (text[t]) {
        if (p < len && pattern[p] == '*') {
            star = p++;
            again = t;
        } else if (p < len && pattern[p] == text[t]) {
            p++;
            t++;
        } else if (star < len) {
            p = star + 1;
            t = ++again;
        } else {
            return false;
        }
    }
    while (p < len && pattern[p] == '*')
        p++;
    return p == len;
}

bool ln_access_names(const char *channels, const char *channel)
{
    for (const char *p = channels; *p;) {
        size_t len = strcspn(p, ",");
        if (len && (strcmp(channel, "*") == 0 ? len == 1 && *p == '*' : fits(p, len, channel)))
            return true;
        p += len + (p[len] != '\0');
    }
    return false;
}

static bool is_for(const struct ln_grant *g, const struct ln_caller *p, enum ln_grant_kind user)
{
    if (g->kind == user)
        return p->uid >= 0 && g->id == p->uid;
    for (unsigned i = 0; g->kind == user + 1 && i < p->ngid; i++)
        if (g->id == (int64_t)p->gid[i])
            return true;
    return false;
}

static enum ln_role at_least(enum ln_role best, const struct ln_grant *g, const char *channel)
{
    return g->role > best && (!channel || ln_access_names(g->channels, channel)) ? g->role : best;
}

enum ln_role ln_access_role(const struct ln_access *a, const struct ln_caller *p,
                            const char *channel)
{
    if (p->token)
        return at_least(LN_ROLE_NONE, p->token, channel);
    if (p->owner)
        return LN_ROLE_ADMIN;
    enum ln_role best = p->glass;
    for (unsigned i = 0; i < a->ngrant; i++)
        if (is_for(&a->grant[i], p, LN_GRANT_USER))
            best = at_least(best, &a->grant[i], channel);
    return best;
}

bool ln_access_glass(const struct ln_access *a, const struct ln_caller *p)
{
    for (unsigned i = 0; i < a->ngrant && !p->token; i++)
        if (is_for(&a->grant[i], p, LN_GRANT_GLASS_USER))
            return true;
    return false;
}
