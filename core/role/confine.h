/* Confinement of the processes that run scripts: behind Lua's sandbox the kernel's own. Should a
 * script ever break out of Lua, it still can open no socket, start no program, write no file and
 * read nothing outside of its site. */
#ifndef LN_ROLE_CONFINE_H
#define LN_ROLE_CONFINE_H

#include <stdbool.h>

/* What a process that runs scripts may have besides the site. */
struct ln_confine {
    const char *site; /* absolute path; NULL: all files may be read (the loader's work) */
    bool jit; /* memory may be made executable */
    bool net; /* descriptors may be taken from LN_NET_FD */
    const char *const *read; /* files and folders that may be read; absolute, without links */
    unsigned nread;
};

/* For a child that runs as root: the rights of the site folder's owner. When that is root, too, its
 * user stays, but every capability goes. Call it before ln_proc_seal (it clears what that sets). A
 * change that fails ends the process. */
void ln_confine_user(const char *site);

/* Confines this process for good; open descriptors stay usable; no file may be written. Entries of
 * the site whose name begins with a dot, and those that come into being later right in the site
 * folder, cannot be read. A path of `read` that leads over a link by now is not granted. Returns
 * what could be applied, enum ln_confinement (ipc/proto.h). Does nothing in sanitizer builds, whose
 * run time needs more. */
unsigned ln_confine(const struct ln_confine *c);

/* For a process that talks to the network: it may read files, but write none, and start no program.
 */
void ln_confine_sender(void);

#endif
