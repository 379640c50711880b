/* Verbs that read the store, for those who cannot: `view COLUMNS TERMINAL VERB ARG...`. */
#ifndef LN_HUB_VIEW_H
#define LN_HUB_VIEW_H

#ifndef LN_CDEF
#include "hub/control.h"

ln_verb_fn ln_verb_view;
/* The right that the verb behind `view` needs: it is recorded by the process that shows, with what
 * it shows. NULL, and k has been told, when there is no such verb. */
const struct ln_right *ln_view_right(struct ln_asker *k);
/* Any child's end. */
void ln_view_exited(pid_t pid);
#endif

#endif
