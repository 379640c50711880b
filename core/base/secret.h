/* Memory for keys: locked (never written to swap), left out of core dumps, wiped when it is given
 * back. */
#ifndef LN_BASE_SECRET_H
#define LN_BASE_SECRET_H

#include <stdbool.h>
#include <stddef.h>

/* len zero bytes, in pages of their own; NULL when there is no memory. Where the system does not
 * let memory be locked (RLIMIT_MEMLOCK), it still works: see ln_secret_locked. */
void *ln_secret_new(size_t len);
/* Wipes and frees; p may be NULL. */
void ln_secret_free(void *p, size_t len);
/* Wipes in a way that the compiler keeps. */
void ln_secret_wipe(void *p, size_t len);
/* Whether all such memory of this process could be locked so far. */
bool ln_secret_locked(void);

#endif
