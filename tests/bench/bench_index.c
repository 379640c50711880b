/* bench_index [SECONDS]: the structural index against bare loops that only write out the positions
 * of the same delimiters, on one 10 KB ORU, hot, in one run.
 *   cc -O2 -Icore -o build/bench_index tests/bench/bench_index.c -Lbuild/release -llunate
 *   LD_LIBRARY_PATH=build/release build/bench_index
 * The index holds the line ends and the field separators; finer levels are cut when they are read.
 * For each loop: the best of many short runs, since other work on the machine only ever adds. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "hl7/field.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static char text[16384];
static size_t len;
static uint32_t found[sizeof text + 64];
static char block[262144];
static volatile size_t sink;

/* ---- bare loops: FEW = line end and field separator, ALL = the six delimiters ---------------- */

static const char all[] = "\r|^~\\&";
static int few = 1;

static int set_size(void)
{
    return few ? 2 : 6;
}

static size_t table_loop(void)
{
    static unsigned char is[256];
    memset(is, 0, sizeof is);
    for (int i = 0; i < set_size(); i++)
        is[(unsigned char)all[i]] = 1;
    size_t n = 0;
    for (size_t i = 0; i < len; i++) {
        found[n] = (uint32_t)i;
        n += is[(unsigned char)text[i]];
    }
    return n;
}

static size_t memchr_loop(void)
{
    size_t n = 0;
    for (int i = 0; i < set_size(); i++)
        for (const char *p = text; (p = memchr(p, all[i], (size_t)(text + len - p))); p++)
            found[n++] = (uint32_t)(p - text);
    return n;
}

#if defined(__x86_64__)
#define AVX2 __attribute__((target("avx2,bmi,popcnt")))

AVX2 static inline __m256i load(size_t i)
{
    return _mm256_loadu_si256((const __m256i *)(const void *)(text + i)); /* text has room behind */
}

AVX2 static inline __m256i is(__m256i v, int i)
{
    return _mm256_cmpeq_epi8(v, _mm256_set1_epi8(all[i]));
}

AVX2 static inline __m256i hits_few(__m256i v)
{
    return _mm256_or_si256(is(v, 0), is(v, 1));
}

AVX2 static inline __m256i hits_all(__m256i v)
{
    __m256i h = _mm256_or_si256(is(v, 2), _mm256_or_si256(is(v, 3), is(v, 4)));
    return _mm256_or_si256(hits_few(v), _mm256_or_si256(h, is(v, 5)));
}

/* One bit after the other. */
#define LOOP_BITS(name, hits)                                                                      \
    AVX2 static size_t name(void)                                                                  \
    {                                                                                              \
        size_t n = 0;                                                                              \
        for (size_t i = 0; i < len; i += 32) {                                                     \
            uint32_t bits = (uint32_t)_mm256_movemask_epi8(hits(load(i)));                         \
            for (; bits; bits &= bits - 1)                                                         \
                found[n++] = (uint32_t)i + _tzcnt_u32(bits);                                       \
        }                                                                                          \
        return n;                                                                                  \
    }
LOOP_BITS(avx2_bits_few, hits_few)
LOOP_BITS(avx2_bits_all, hits_all)

/* Eight at a time, the fastest way known. */
#define LOOP_EIGHT(name, hits)                                                                     \
    AVX2 static size_t name(void)                                                                  \
    {                                                                                              \
        size_t n = 0;                                                                              \
        for (size_t i = 0; i < len; i += 64) {                                                     \
            uint64_t bits = (uint32_t)_mm256_movemask_epi8(hits(load(i))) |                        \
                            (uint64_t)(uint32_t)_mm256_movemask_epi8(hits(load(i + 32))) << 32;    \
            size_t k = n;                                                                          \
            n += (size_t)_mm_popcnt_u64(bits);                                                     \
            do {                                                                                   \
                for (int j = 0; j < 8; j++, bits &= bits - 1)                                      \
                    found[k + (size_t)j] = (uint32_t)i + (uint32_t)_tzcnt_u64(bits);               \
                k += 8;                                                                            \
            } while (bits);                                                                        \
        }                                                                                          \
        return n;                                                                                  \
    }
LOOP_EIGHT(avx2_eight_few, hits_few)
LOOP_EIGHT(avx2_eight_all, hits_all)

static size_t avx2_bits(void)
{
    return few ? avx2_bits_few() : avx2_bits_all();
}
static size_t avx2_eight(void)
{
    return few ? avx2_eight_few() : avx2_eight_all();
}
#endif

/* ---- the message index ----------------------------------------------------------------------- */

/* In memory that is there, as a script's message has it in its Lua state. */
static struct ln_message parsed(void)
{
    struct ln_message m = {.arena = {.at = block, .end = block + sizeof block}};
    struct ln_span bytes = ln_span(text, len);
    struct ln_scan scan;
    if (ln_message_scan(bytes, &scan, NULL) || ln_message_build(&m, bytes, &scan))
        abort();
    return m;
}

static size_t segments(void)
{
    struct ln_message m = parsed();
    return m.count;
}

/* Every segment and every field: positions found. */
static size_t whole_index(void)
{
    struct ln_message m = parsed();
    size_t n = m.count;
    for (uint32_t s = 0; s < m.nslot; s++) {
        uint32_t fields;
        if (ln_field_count(&m, s, &fields))
            abort();
        n += m.seg[s].nfield;
    }
    return n;
}

/* ---- measuring ------------------------------------------------------------------------------- */

static double now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static double best_of(size_t (*fn)(void), double seconds)
{
    double best = 1e9, stop = now() + seconds;
    do {
        double start = now();
        for (int i = 0; i < 500; i++) {
            sink += fn();
            __asm__ volatile("" : : "r"(found) : "memory"); /* the stores count */
        }
        double took = (now() - start) / 500;
        if (took < best)
            best = took;
    } while (now() < stop);
    return best;
}

static double report(const char *name, size_t (*fn)(void), double seconds, double base)
{
    double t = best_of(fn, seconds);
    printf("  %-44s %7.2f us %6.2f GB/s", name, t * 1e6, (double)len / t / 1e9);
    if (base > 0)
        printf("  %5.2f of the bare loop", base / t);
    printf("   %zu\n", fn());
    return t;
}

static void make_text(void)
{
    len = (size_t)sprintf(text,
                          "MSH|^~\\&|LAB|HOSP|EHR|HOSP|20261123120000||ORU^R01^ORU_R01|1|P|2.5.1\r"
                          "PID|1||4711^^^HOSP^MR~999^^^SSA^SS||DOE^JANE^E||19620320|F\r"
                          "OBR|1||A77|GLU^Glucose^L\r");
    for (int i = 1; len < 10240 - 90; i++)
        len += (size_t)sprintf(text + len,
                               "OBX|%d|NM|718-7^Hemoglobin^LN||13.%d|g/dL|12.0-16.0|N|||F|||"
                               "20261123%04d\r",
                               i, i % 10, i);
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 0.5, base = 0;
    make_text();
    printf("ORU of %zu bytes, %s; the last column is how many positions were found\n", len,
           ln_simd()->name);
    for (; few >= 0; few--) {
        printf("%s\n", few ? "line ends and field separators" : "all six delimiters");
        report("six memchr passes (here as many as delimiters)", memchr_loop, seconds, 0);
        report("scalar table", table_loop, seconds, 0);
#if defined(__x86_64__)
        double bits = report("bare AVX2, bit by bit", avx2_bits, seconds, 0);
        double eight = report("bare AVX2, eight at a time", avx2_eight, seconds, 0);
        if (few)
            base = bits < eight ? bits : eight;
#endif
    }
    printf("the message index\n");
    report("parse: segments and fields", segments, seconds, base);
    report("the same, then asked for every segment", whole_index, seconds, base);
    return 0;
}
