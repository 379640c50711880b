/* What every fuzz target shares. A target is one file NAME_fuzz.c with LLVMFuzzerTestOneInput; it
 * is linked with libFuzzer (`make fuzz FUZZ=NAME`) or with replay.c (`make test`). */
#ifndef LN_FUZZ_H
#define LN_FUZZ_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Aborts with the place and the condition: the sanitizers' runtime then prints the stack. */
#define CHECK(cond)                                                                                \
    do {                                                                                           \
        if (!(cond)) {                                                                             \
            fprintf(stderr, "%s:%d: check failed: %s\n", __FILE__, __LINE__, #cond);               \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

/* A copy that is exactly as long as it must be, so that ASan sees a read past its end. */
static inline char *fuzz_copy(const void *data, size_t size)
{
    char *p = malloc(size ? size : 1);
    CHECK(p);
    if (size)
        memcpy(p, data, size);
    return p;
}

#endif
