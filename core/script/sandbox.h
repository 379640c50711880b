/* The sandbox of channel scripts, in a bare state (script/state.h): a whitelisted environment made
 * by lua/sandbox.lua over the C functions here. Nothing in it reaches the real globals, the disk
 * outside of the site folder, or another process. */
#ifndef LN_SCRIPT_SANDBOX_H
#define LN_SCRIPT_SANDBOX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/span.h"
#include "script/files.h"

struct lua_State;

/* An HTTP request of a script. */
struct ln_http_ask {
    const char *method, *url, *host; /* host: without brackets */
    int port;
    bool tls;
    struct ln_span headers,
        body; /* headers: lines, each with its CR LF; with Host, without lengths */
    struct ln_span target; /* path and query */
    double timeout_s; /* 0: what there is time for */
    size_t max_body;
};

/* And its answer. */
struct ln_http_told {
    unsigned status;
    struct ln_buf headers, body; /* headers: "name\0value\0" each */
};

/* What the process gives its scripts; outlives the state. */
struct ln_host {
    const char *site; /* absolute path; io.open reads below it. NULL: no io */
    const char *const *read; /* io.open reads these, too, and what is below them */
    unsigned nread;
    bool loading; /* `read` does not hold yet */
    const struct ln_files *files; /* what require and lookup see */
    void (*log)(void *arg, int level, struct ln_span where, struct ln_span text); /* may be NULL */
    /* LN_OK; LN_EINVAL: not granted; else: no answer. err->text is for the script. NULL: the
     * channel may not. */
    int (*http)(void *arg, const struct ln_http_ask *ask, struct ln_http_told *told,
                struct ln_err *err);
    void (*reading)(void *arg); /* a table is about to be read; may be NULL */
    void *arg;
};

/* Makes the sandbox. path is the script's ("channels/x/init.lua" also sees channels/x/NAME.lua
 * through require). Pushes nothing. */
int ln_sandbox_open(struct lua_State *L, const struct ln_host *host, const char *path,
                    struct ln_err *err) LN_MUST;
/* Pushes the function of text, compiled with a fresh environment of the sandbox as its globals. */
int ln_sandbox_load(struct lua_State *L, struct ln_span text, const char *chunk,
                    struct ln_err *err) LN_MUST;

/* Pushes the table of C functions that lua/sandbox.lua builds on; also for trusted states. */
int ln_sandbox_push_core(struct lua_State *L);
/* Pushes io.open and io.lines for reading below host->site and host->read (script/siteio.c). The
 * standard io library must be open. */
void ln_siteio_push(struct lua_State *L);
/* The C function outside(path, known) -> stamp and, when that is not `known`, text; nil and why. A
 * file beside the site, as io.open would let it be read; its stamp changes when it does. */
int ln_siteio_outside(struct lua_State *L);
/* The C function http(ask) of lua/http.lua (script/http.c). */
int ln_http_ask_lua(struct lua_State *L);

#endif
