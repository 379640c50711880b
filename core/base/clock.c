#include "base/clock.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec ts;
    clock_gettime(id, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000;
}

static int64_t fixed;

int64_t ln_now_us(void)
{
    return fixed ? fixed : read_clock(CLOCK_REALTIME);
}

void ln_now_fix(int64_t wall_us)
{
    fixed = wall_us;
}

int64_t ln_mono_us(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

size_t ln_hl7_time(int64_t wall_us, char *out, size_t cap)
{
    time_t t = (time_t)(wall_us / 1000000);
    struct tm tm;
    localtime_r(&t, &tm);
    return strftime(out, cap, "%Y%m%d%H%M%S%z", &tm);
}

size_t ln_iso_time(int64_t wall_us, char *out, size_t cap)
{
    time_t t = (time_t)(wall_us / 1000000);
    struct tm tm;
    char date[32];
    gmtime_r(&t, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    int n = snprintf(out, cap, "%s.%03dZ", date, (int)(wall_us / 1000 % 1000));
    return n < 0 || (size_t)n >= cap ? 0 : (size_t)n;
}
