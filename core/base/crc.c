#include "base/crc.h"

#include <pthread.h>
#include <string.h>

/* ---- by table ------------------------------------------------------------------------------ */

static uint32_t table[256];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static uint32_t (*update)(uint32_t crc, const unsigned char *p, size_t len);

static uint32_t by_table(uint32_t crc, const unsigned char *p, size_t len)
{
    for (; len; len--)
        crc = table[(crc ^ *p++) & 0xff] ^ (crc >> 8);
    return crc;
}

/* ---- by the processor: eight bytes at a time ------------------------------------------------ */

#if defined(__x86_64__)
__attribute__((target("sse4.2"))) static uint32_t by_processor(uint32_t crc, const unsigned char *p,
                                                               size_t len)
{
    uint64_t c = crc, v;
    for (; len >= 8; len -= 8, p += 8) {
        memcpy(&v, p, 8);
        c = __builtin_ia32_crc32di(c, v);
    }
    crc = (uint32_t)c;
    for (; len; len--)
        crc = __builtin_ia32_crc32qi(crc, *p++);
    return crc;
}
#endif

static void choose(void)
{
    for (uint32_t i = 0; i < 256; i++) {
        uint32_t c = i;
        for (int bit = 0; bit < 8; bit++)
            c = c & 1 ? 0x82f63b78u ^ (c >> 1) : c >> 1;
        table[i] = c;
    }
    update = by_table;
#if defined(__x86_64__)
    if (__builtin_cpu_supports("sse4.2"))
        update = by_processor;
#endif
}

uint32_t ln_crc32c(const void *data, size_t len)
{
    pthread_once(&once, choose);
    return ~update(~0u, data, len);
}
