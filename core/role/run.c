/* lunate run: the hub, in the foreground. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include "hub/hub.h"
#include "role/role.h"

int ln_role_run(int argc, char **argv)
{
    static char path[PATH_MAX];
    const char *site = ln_role_site();
    (void)argv;
    if (argc > 2) {
        fprintf(stderr, "lunate run: takes no arguments (lunate -C SITE run)\n");
        return 2;
    }
    if (!realpath(site, path)) {
        fprintf(stderr, "lunate: site folder %s: %s\n", site, strerror(errno));
        return 1;
    }
    return ln_hub_run(path);
}
