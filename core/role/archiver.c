/* archiver: writes messages to archive files before retention trims them (lua/archive/main.lua), in
 * a process of its own that the hub starts when a channel has `archive`. It reads the store
 * read-only; what it has written and synced it tells over descriptor 3, and only that is trimmed.
 * The end of that socket is its only order to stop. */
#include <stdio.h>
#include <sys/stat.h>

#include "base/proc.h"
#include "role/cli.h"
#include "role/role.h"

int ln_role_archiver(int argc, char **argv)
{
    if (!ln_proc_has_socket()) {
        fprintf(stderr, "lunate archiver: only the engine starts it; see docs/operations.md\n");
        return LN_EXIT_USAGE;
    }
    ln_proc_title(argc, argv, "lunate: archiver");
    ln_proc_seal_writer(LN_PROC_FD);
    umask(077);
    return ln_role_cli_module("lunate.archive.main");
}
