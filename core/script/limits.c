#include "script/limits.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>

#include "base/clock.h"
#include "base/err.h"
#include "ipc/proto.h"
#include "script/state.h"

static struct {
    struct lua_State *L;
    int64_t limit_us;
    void (*tick)(void);
    volatile int64_t started_us;
    volatile int64_t held_us; /* since when the time waits; 0 = it runs */
    volatile int64_t hold_left_us;
    volatile sig_atomic_t busy;
    volatile sig_atomic_t timer_on;
} watch;

static void set_timer(int ms)
{
    struct itimerval t = {0};
    t.it_interval.tv_usec = ms * 1000;
    t.it_value = t.it_interval;
    setitimer(ITIMER_REAL, &t, NULL);
}

/* The main program reads timer_on only after it has set busy, so a timer stopped here is always
 * seen as stopped, or never stopped while busy. */
static void on_alarm(int signo)
{
    int saved = errno;
    (void)signo;
    if (!watch.busy) {
        set_timer(0);
        watch.timer_on = 0;
    } else {
        if (watch.tick)
            watch.tick();
        int64_t now = ln_mono_us(), held = watch.held_us;
        if (held ? now - held > watch.hold_left_us : now - watch.started_us > watch.limit_us)
            ln_state_stop(watch.L);
    }
    errno = saved;
}

int ln_limits_watch(struct lua_State *L, double seconds, void (*tick)(void))
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    watch.busy = 0;
    set_timer(0);
    watch.timer_on = 0;
    watch.L = L;
    watch.tick = tick;
    if (!L)
        return LN_OK;
    watch.limit_us = (int64_t)(seconds * 1e6);
    ln_state_set_seconds(L, seconds);
    sa.sa_handler = on_alarm;
    sa.sa_flags = SA_RESTART;
    sigemptyset(&sa.sa_mask);
    return sigaction(SIGALRM, &sa, NULL) == 0 ? LN_OK : ln_code_from_errno(errno);
}

void ln_limits_begin(int64_t now_us)
{
    watch.started_us = now_us;
    watch.held_us = 0;
    watch.hold_left_us = (int64_t)LN_READING_S * 1000000;
    watch.busy = 1;
    if (!watch.timer_on) {
        watch.timer_on = 1;
        set_timer(LN_LIMITS_TICK_MS);
    }
}

void ln_limits_hold(void)
{
    if (watch.busy && !watch.held_us)
        watch.held_us = ln_mono_us();
}

void ln_limits_go_on(void)
{
    if (!watch.held_us)
        return;
    int64_t passed = ln_mono_us() - watch.held_us;
    watch.hold_left_us -= passed;
    watch.started_us += passed; /* before the time runs again */
    watch.held_us = 0;
}

int64_t ln_limits_left_us(void)
{
    int64_t left = watch.started_us + watch.limit_us - ln_mono_us();
    return watch.busy && left > 0 ? left : 0;
}

void ln_limits_end(void)
{
    watch.busy = 0;
}
