/* LD_PRELOAD for version_spec: what is decompressed and has more than a megabyte waits until the
 * file that SLOWUNPACK names says "go"; SLOWUNPACK.asked is there once somebody waits. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef size_t unpack_fn(void *, size_t, const void *, size_t);

static int goes(const char *path)
{
    char text[8] = "";
    FILE *f = fopen(path, "re");
    size_t n = f ? fread(text, 1, sizeof text - 1, f) : 0;
    text[n] = '\0';
    if (f)
        fclose(f);
    return strcmp(text, "go") == 0;
}

size_t ZSTD_decompress(void *to, size_t cap, const void *from, size_t len)
{
    unpack_fn *next = (unpack_fn *)dlsym(RTLD_NEXT, "ZSTD_decompress");
    const char *path = getenv("SLOWUNPACK");
    struct timespec t = {0, 5000000};
    char asked[300];
    if (path && cap > 1 << 20) {
        snprintf(asked, sizeof asked, "%s.asked", path);
        FILE *f = fopen(asked, "we");
        if (f)
            fclose(f);
        while (!goes(path))
            nanosleep(&t, NULL);
    }
    return next(to, cap, from, len);
}
