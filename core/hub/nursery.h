/* Where workers come from: a process of this binary that has loaded what all of them need and
 * forks when the hub asks. A worker's start is then its script's alone, and the hub's loop does not
 * stand still while a program is executed. A nursery that is gone is started again with the next
 * worker; those that it brought forth live on, as they are the hub's children. */
#ifndef LN_HUB_NURSERY_H
#define LN_HUB_NURSERY_H

#ifndef LN_CDEF
#include "hub/hub.h"

struct ln_nursery;

/* Starts one, so that it is ready when the first worker is. It is tried again when that fails. */
void ln_nursery_start(struct ln_hub *h);
/* Those that it had not brought forth yet see their sockets closed. */
void ln_nursery_stop(struct ln_hub *h);

/* Has a worker started for a channel, or the loader (channel NULL) at nice LN_NICE: messages go
 * first. fd: n descriptors as for ln_spawn (LN_SPAWN_PAIR or one of ours; from descriptor 3 on).
 * *ours: the hub's end of the pair, non-blocking. *pid is set as soon as it is known, 0 until then;
 * when none could be started the pair is closed. LN_EAGAIN and other errors of the system. */
int ln_nursery_bear(struct ln_hub *h, const char *channel, const int *fd, int n, pid_t *pid,
                    int *ours) LN_MUST;
/* Reads what it has said by now. A child says its process id before anything else: behind this,
 * *pid of one that has said something is known. */
void ln_nursery_look(struct ln_hub *h);
/* True when *pid is not known and will not be: nothing comes of it any more, or nothing came for
 * too long, in which case the nursery is ended. */
bool ln_nursery_hangs(struct ln_hub *h, const pid_t *pid, double passed_s);
/* A child of the hub's was reaped. */
void ln_nursery_exited(struct ln_hub *h, pid_t pid);
/* Ends the process that *pid stands for, also when it is not known yet; *pid is 0 then. */
void ln_nursery_end(struct ln_hub *h, pid_t *pid);
#endif

#endif
