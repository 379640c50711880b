/* HTTP of a worker: the hub connects (hub/reach.h), what goes over the connection is spoken here.
 */
#ifndef LN_ROLE_FETCH_H
#define LN_ROLE_FETCH_H

#include "base/err.h"
#include "base/span.h"
#include "script/sandbox.h"

/* Before the process confines itself, since it reads whom to trust. ca: PEM, empty: the system's.
 */
int ln_fetch_open(struct ln_span ca, struct ln_err *err) LN_MUST;
/* As ln_host.http. Waits at most as long as the script may still run. */
int ln_fetch(const struct ln_http_ask *ask, struct ln_http_told *told, struct ln_err *err) LN_MUST;

#endif
