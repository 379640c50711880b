/* LD_PRELOAD for name_spec: the name "slow.test" means what the file that SLOWNAME names says: an
 * address; "none", it is not found; "wait", nobody answers until the file says something else. The
 * file SLOWNAME.asked is there once somebody waits. */
#include <dlfcn.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef int look_up_fn(const char *, const char *, const struct addrinfo *, struct addrinfo **);

static void read_file(const char *path, char *text, size_t cap)
{
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, cap - 1, f) : 0;
    text[n] = '\0';
    if (f)
        fclose(f);
}

int getaddrinfo(const char *host, const char *service, const struct addrinfo *hints,
                struct addrinfo **out)
{
    look_up_fn *next = (look_up_fn *)dlsym(RTLD_NEXT, "getaddrinfo");
    const char *path = getenv("SLOWNAME");
    struct timespec t = {0, 5000000};
    char says[64], asked[300];
    if (!path || strcmp(host, "slow.test") != 0 || (hints && hints->ai_flags & AI_NUMERICHOST))
        return next(host, service, hints, out);
    read_file(path, says, sizeof says);
    while (strcmp(says, "wait") == 0 || !says[0]) {
        snprintf(asked, sizeof asked, "%s.asked", path);
        FILE *f = fopen(asked, "we");
        if (f)
            fclose(f);
        nanosleep(&t, NULL);
        read_file(path, says, sizeof says);
    }
    return strcmp(says, "none") == 0 ? EAI_NONAME : next(says, service, hints, out);
}
