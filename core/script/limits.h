/* The soft time limit of a process that runs scripts: a timer tick (100 ms) while a script is at
 * work; over the limit it stops the script through ln_state_stop. What no hook can stop (a long
 * string.find, compiled code) is for the parent's SIGKILL. One state is watched at a time. */
#ifndef LN_SCRIPT_LIMITS_H
#define LN_SCRIPT_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

struct lua_State;

#define LN_LIMITS_TICK_MS 100

/* Watches L from now on; NULL ends it. tick (may be NULL) is called from the signal handler at each
 * tick between begin and end: it must be async-signal-safe. */
int ln_limits_watch(struct lua_State *L, double seconds, void (*tick)(void));
/* The script starts at mono time now_us. */
void ln_limits_begin(int64_t now_us);
/* What comes now is no doing of the script's, as the reading of a table: its time waits until
 * ln_limits_go_on, for LN_READING_S in all since it began. */
void ln_limits_hold(void);
void ln_limits_go_on(void);
/* How long the script may still run; 0 when nothing runs. */
int64_t ln_limits_left_us(void);
/* It is back. The timer stops by itself when nothing begins for a tick. */
void ln_limits_end(void);

#endif
