/* lunate.sys.foreign: addresses that are not this machine's. lunate.sys.unresolved: names that have
 * no address, looked up side by side within a time, since a name server that is away would hold up
 * each look-up for many seconds. */
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <netdb.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "role/cli.h"

struct look {
    struct gaicb request;
    char host[]; /* of request.ar_name */
};

/* Starts looking; NULL without memory. */
static struct look *start(const char *host)
{
    struct look *k = calloc(1, sizeof *k + strlen(host) + 1);
    if (!k)
        return NULL;
    strcpy(k->host, host);
    k->request.ar_name = k->host;
    struct gaicb *one[] = {&k->request};
    if (getaddrinfo_a(GAI_NOWAIT, one, 1, NULL) == 0)
        return k;
    free(k);
    return NULL;
}

/* True when it is done in time. */
static bool wait_for(struct look *k, int64_t deadline_us)
{
    const struct gaicb *one[] = {&k->request};
    while (gai_error(&k->request) == EAI_INPROGRESS) {
        int64_t left = deadline_us - ln_mono_us();
        if (left <= 0)
            return false;
        struct timespec ts = {left / 1000000, (long)(left % 1000000) * 1000};
        gai_suspend(one, 1, &ts);
    }
    return true;
}

/* Sets t[host] = why on the top of the stack when it has no address. */
static void finish(lua_State *L, struct look *k, int64_t deadline_us)
{
    if (!wait_for(k, deadline_us)) {
        lua_pushliteral(L, "no name server answers");
        lua_setfield(L, -2, k->host);
        if (gai_cancel(&k->request) == EAI_NOTCANCELED)
            return; /* a thread still writes to it: it stays */
    } else if (gai_error(&k->request) != 0) {
        lua_pushstring(L, gai_strerror(gai_error(&k->request)));
        lua_setfield(L, -2, k->host);
    } else {
        freeaddrinfo(k->request.ar_result);
    }
    free(k);
}

int ln_cli_unresolved(lua_State *L)
{
    luaL_checktype(L, 1, LUA_TTABLE);
    int64_t deadline_us = ln_mono_us() + (int64_t)(luaL_checknumber(L, 2) * 1e6);
    size_t n = lua_objlen(L, 1);
    struct look **looks = lua_newuserdata(L, (n + 1) * sizeof *looks);
    for (size_t i = 0; i < n; i++) {
        lua_rawgeti(L, 1, (int)i + 1);
        looks[i] = start(luaL_checkstring(L, -1));
        lua_pop(L, 1);
    }
    lua_newtable(L);
    for (size_t i = 0; i < n; i++)
        if (looks[i])
            finish(L, looks[i], deadline_us);
    return 1;
}

int ln_cli_foreign(lua_State *L)
{
    struct addrinfo hints = {.ai_flags = AI_NUMERICHOST, .ai_socktype = SOCK_DGRAM}, *a;
    if (getaddrinfo(luaL_checkstring(L, 1), NULL, &hints, &a) != 0)
        return 0;
    int fd = socket(a->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0), error = 0;
    if (fd >= 0 && bind(fd, a->ai_addr, a->ai_addrlen) != 0)
        error = errno;
    if (fd >= 0)
        close(fd);
    freeaddrinfo(a);
    if (error != EADDRNOTAVAIL)
        return 0;
    lua_pushstring(L, strerror(error));
    return 1;
}
