/* What the service manager is told (sd_notify protocol): a datagram to the socket that it named. */
#ifndef LN_BASE_NOTIFY_H
#define LN_BASE_NOTIFY_H

#include <stdint.h>

/* Sends "READY=1", "STOPPING=1", "STATUS=..." and so on; does nothing without NOTIFY_SOCKET. */
void ln_notify(const char *state);
/* How often "WATCHDOG=1" is due at the latest, in microseconds; 0: nobody watches. */
int64_t ln_notify_watchdog_us(void);

#endif
