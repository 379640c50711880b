/* Descriptors that go along with a packet of a SOCK_SEQPACKET socket (unix(7), SCM_RIGHTS). */
#ifndef LN_IPC_PASS_H
#define LN_IPC_PASS_H

#include "base/buf.h"

#define LN_PASS_MAX 32 /* descriptors in one packet */

/* Sends b's bytes as one packet with n descriptors (0 to LN_PASS_MAX), without waiting. LN_ENOMEM
 * when a write to b has failed; LN_EAGAIN: the other side has too much unread. */
int ln_pass_send(int sock, const struct ln_buf *b, const int *fd, unsigned n) LN_MUST;

#endif
