/* Finds the verb and hands over. `-C SITE` stands before the verb and is taken out here. */
#include "role/role.h"

#include <limits.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "role/ahead.h"
#include "role/cli.h"

typedef int role_main(int argc, char **argv);

static const struct {
    const char *verb;
    role_main *main;
    bool has_help; /* `VERB --help` is answered by `help VERB` */
} roles[] = {
    {"run", ln_role_run, true},
    {"worker", ln_role_worker, false},
    {"nursery", ln_role_nursery, false},
    {"loader", ln_role_loader, false},
    {"send", ln_role_send, true},
    {"listen", ln_role_listen, true},
    {"lua", ln_role_lua, true},
    {"repl-child", ln_role_repl, false},
    {"alerter", ln_role_alerter, false},
    {"archiver", ln_role_archiver, false},
    {"audit-send", ln_role_audit_send, false},
    {"alert-send", ln_role_alert_send, false},
    {"view", ln_role_view, false},
};

static const char *site = ".";

const char *ln_role_site(void)
{
    return site;
}

/* Takes leading -C SITE out of argv; returns the new argc, or -1. */
static int take_site(int argc, char **argv)
{
    int from = 1;
    while (from < argc && strncmp(argv[from], "-C", 2) == 0) {
        if (argv[from][2]) {
            site = argv[from++] + 2;
        } else if (from + 1 < argc) {
            site = argv[from + 1];
            from += 2;
        } else {
            return -1;
        }
        if (!*site)
            return -1;
    }
    int n = 1;
    for (int i = from; i <= argc; i++) /* with the NULL at the end */
        argv[n++] = argv[i];
    return n - 1;
}

static bool asks_for_help(const char *word)
{
    return word && (strcmp(word, "-h") == 0 || strcmp(word, "--help") == 0);
}

static bool is_there(const char *name)
{
    char path[PATH_MAX];
    int n = snprintf(path, sizeof path, "%s/%s", site, name);
    return n > 0 && (size_t)n < sizeof path && access(path, F_OK) == 0;
}

/* A person waits for the prompt of these. What takes longest is started first. */
static void start_ahead(int argc, char **argv)
{
    char editor[PATH_MAX];
    bool repl = strcmp(argv[1], "repl") == 0;
    if (!repl && strcmp(argv[1], "tutor") != 0)
        return;
    if (repl && (is_there("lunate.lua") || is_there("channels")))
        ln_ahead_start("loader", ln_role_loader_ahead, argc, argv);
    if (ln_cli_repl_program(editor, sizeof editor))
        ln_ahead_exec("lunate-repl", editor);
    ln_ahead_start("repl-child", ln_role_repl, argc, argv);
}

int ln_role_main(int argc, char **argv)
{
    argc = take_site(argc, argv);
    if (argc < 0) {
        fprintf(stderr, "lunate: -C needs a folder: lunate -C SITE VERB ...\n");
        return LN_EXIT_USAGE;
    }
    for (size_t i = 0; argc > 1 && i < sizeof roles / sizeof *roles; i++) {
        if (strcmp(argv[1], roles[i].verb) != 0)
            continue;
        if (roles[i].has_help && asks_for_help(argv[2])) {
            char *help[] = {argv[0], (char *)"help", argv[1], NULL};
            return ln_role_cli(3, help);
        }
        return roles[i].main(argc, argv);
    }
    if (argc > 1)
        start_ahead(argc, argv);
    return ln_role_cli(argc, argv);
}
