/* Roles: what the binary can be. One file per role in this folder. Every role gets the whole
 * argument list without `-C SITE`: argv[0] the binary, argv[1] the verb, then the verb's own
 * arguments. */
#ifndef LN_ROLE_ROLE_H
#define LN_ROLE_ROLE_H

/* Exit statuses, the same for every verb. */
enum ln_exit {
    LN_EXIT_OK = 0,
    LN_EXIT_WRONG = 1, /* what was asked about is wrong: invalid script, not found, refused */
    LN_EXIT_USAGE = 2, /* wrong usage */
    LN_EXIT_NO_ENGINE = 3, /* no engine running, or nobody to connect to */
};

/* Picks the role by the verb and runs it; returns the exit status. */
int ln_role_main(int argc, char **argv);

/* The site folder as `-C SITE` gave it; "." by default. Never NULL. */
const char *ln_role_site(void);

int ln_role_run(int argc, char **argv); /* the hub, in the foreground */
int ln_role_worker(int argc, char **argv); /* a channel's script; socket on descriptor 3 */
int ln_role_nursery(int argc, char **argv); /* forks workers; socket on descriptor 3 */
int ln_role_loader(int argc, char **argv); /* evaluates configuration; socket on descriptor 3 */
int ln_role_loader_ahead(int argc, char **argv); /* the same for ln_role_site(), without START */
int ln_role_send(int argc, char **argv); /* MLLP client and load generator */
int ln_role_listen(int argc, char **argv); /* MLLP receiver for tests */
int ln_role_lua(int argc, char **argv); /* runs a Lua file with Lunate's modules */
int ln_role_repl(int argc, char **argv); /* evaluates for the REPL; socket on descriptor 3 */
int ln_role_alerter(int argc, char **argv); /* weighs alert rules; socket on descriptor 3 */
int ln_role_archiver(int argc, char **argv); /* archives messages; socket on descriptor 3 */
int ln_role_audit_send(int argc, char **argv); /* the audit log to syslog; socket on descriptor 3 */
int ln_role_alert_send(int argc, char **argv); /* sends one alert; socket on descriptor 3 */
int ln_role_view(int argc, char **argv); /* one view for somebody else; their socket on 3 */
int ln_role_cli(int argc, char **argv); /* every other verb: lua/cli */

#endif
