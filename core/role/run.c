/* lunate run: the hub, in the foreground. */
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <errno.h>

#include "hub/hub.h"
#include "base/log.h"
#include "role/option.h"
#include "role/role.h"

int ln_role_run(int argc, char **argv)
{
    static char path[PATH_MAX];
    const char *site = ln_role_site();
    const char *form = NULL, *file = NULL;
    const struct ln_option options[] = {{"log", LN_OPTION_WORD, &form},
                                        {"log-file", LN_OPTION_WORD, &file},
                                        {NULL, LN_OPTION_FLAG, NULL}};
    int words = ln_option_parse(argc, argv, options);
    if (words < 0)
        return LN_EXIT_USAGE;
    if (words > 0)
        return ln_option_usage("run", "takes no words; the site is given as lunate -C SITE run");
    if (form && strcmp(form, "json") != 0 && strcmp(form, "text") != 0)
        return ln_option_usage("run", "--log is text or json, not \"%s\"", form);
    if (form)
        ln_log_set_form(strcmp(form, "json") == 0 ? LN_LOG_JSON : LN_LOG_TEXT);
    if (file && ln_log_open(file) != LN_OK) {
        fprintf(stderr, "lunate run: cannot write the log %s: %s\n", file, strerror(errno));
        return LN_EXIT_WRONG;
    }
    if (!realpath(site, path)) {
        fprintf(stderr, "lunate: site folder %s: %s\n", site, strerror(errno));
        return 1;
    }
    return ln_hub_run(path);
}
