/* A worker's two halves, so that the first is done once for many: role/nursery.c. */
#ifndef LN_ROLE_WORKER_H
#define LN_ROLE_WORKER_H

/* Loads what every channel's script needs. A worker without it loads that for itself. */
void ln_worker_prepare(void);
/* Says HELLO on descriptor 3 and does what the hub says; its title is written over argv. Does not
 * return. */
void ln_worker_run(int argc, char **argv);

#endif
