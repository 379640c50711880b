/* Roles: what the binary can be. One file per role in this folder. */
#ifndef LN_ROLE_ROLE_H
#define LN_ROLE_ROLE_H

/* Picks the role by argv[1] and runs it; returns the exit status. */
int ln_role_main(int argc, char **argv);

int ln_role_run(int argc, char **argv); /* the hub, in the foreground */
int ln_role_worker(int argc, char **argv); /* a channel's script; socket on descriptor 3 */
int ln_role_loader(int argc, char **argv); /* evaluates configuration; socket on descriptor 3 */
int ln_role_send(int argc, char **argv); /* MLLP client and load generator */
int ln_role_listen(int argc, char **argv); /* MLLP receiver for tests */
int ln_role_cli(int argc, char **argv); /* every other verb: lua/cli */

#endif
