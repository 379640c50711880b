/* Processes: starting one of our own with a socket on descriptor 3, and making one small and
 * harmless. */
#ifndef LN_BASE_PROC_H
#define LN_BASE_PROC_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

#define LN_NICE    5 /* of work that may wait: a third of the time that others get */
#define LN_PROC_FD 3 /* where a child finds its socket */
#define LN_NET_FD  4 /* and a worker with allow.net that for connections */

/* Starts exe with argv (argv[0] on, NULL at the end) and one end of a stream socketpair as
 * descriptor 3; 0, 1 and 2 stay, all else is close-on-exec. *fd is the other end (close-on-exec),
 * *pid the child. */
int ln_proc_spawn(const char *exe, const char *const argv[], int *fd, int *pid, struct ln_err *err);
/* The same without exec, for a process that has nothing yet (role/ahead.c): *pid is 0 in the child,
 * which has its socket on LN_PROC_FD. False: there is no child. */
bool ln_proc_fork(int *fd, int *pid);
/* SIGKILL, and waits for the end. Returns the wait status. */
int ln_proc_kill(int pid);
/* Processor time that it has used, in seconds; 0 when that cannot be told. */
double ln_proc_cpu_s(int pid);
/* The path of this very binary, also when the file on disk was replaced. */
const char *ln_proc_self(void);

/* True when descriptor 3 is a socket: an engine, or a verb, has started this process. */
bool ln_proc_has_socket(void);
/* For a child with nothing but its socket: ends with its parent, leaves no core, gains no rights,
 * writes no files; /dev/null on 0, 1, 2; everything above keep_fd closed; SIGINT, SIGTERM, SIGHUP
 * and SIGPIPE ignored (the end of the socket is its only order to stop). address_space: bytes, 0 =
 * no limit. */
void ln_proc_seal(int keep_fd, size_t address_space);
/* The same for a child that writes files. */
void ln_proc_seal_writer(int keep_fd);
/* True in builds with a sanitizer, whose run time reserves terabytes of address space and needs
 * more of the kernel than we do. */
bool ln_proc_sanitized(void);
/* Gives back what starting up needed and running does not: free heap, and the pages of programs and
 * libraries that nobody writes to; those still wanted come back from the page cache one by one. */
void ln_proc_shed(void);
/* What ps shows. Call it early: it takes the place of argv and of the environment's strings (which
 * are copied). */
void ln_proc_title(int argc, char **argv, const char *title);

#endif
