/* Landlock by raw system calls (glibc has no wrappers), seccomp by libseccomp. Everything is best
 * effort but for the change of user: an older kernel confines less, and the hub says so. */
#include "role/confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <limits.h>
#include <linux/capability.h>
#include <linux/landlock.h>
#include <seccomp.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/proc.h"
#include "ipc/proto.h"

#define STORE_DEPTH 3 /* how deep in the site a store is looked for */
#define READ_ONLY   (LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR)

/* ---- user ---------------------------------------------------------------------------------- */

static void drop_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct none[2] = {{0, 0, 0}, {0, 0, 0}};
    for (int cap = 0; cap < 64; cap++)
        if (prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) != 0)
            break; /* EINVAL: that was the last */
    syscall(SYS_capset, &header, none);
}

void ln_confine_user(const char *site)
{
    struct stat st;
    if (geteuid() != 0)
        return;
    if (stat(site, &st) == 0 && st.st_uid != 0 &&
        (setgroups(0, NULL) != 0 || setresgid(st.st_gid, st.st_gid, st.st_gid) != 0 ||
         setresuid(st.st_uid, st.st_uid, st.st_uid) != 0))
        _exit(1);
    drop_capabilities();
}

/* ---- files --------------------------------------------------------------------------------- */

/* Every right that the kernel's Landlock knows, so that what is not granted is refused. */
static uint64_t all_rights(int abi)
{
    uint64_t rights = (1u << 13) - 1; /* ABI 1: EXECUTE to MAKE_SYM */
    if (abi >= 2)
        rights |= 1u << 13; /* REFER */
    if (abi >= 3)
        rights |= 1u << 14; /* TRUNCATE */
    if (abi >= 5)
        rights |= 1u << 15; /* IOCTL_DEV */
    return rights;
}

static void grant(int rules, const char *path)
{
    struct landlock_path_beneath_attr rule = {.allowed_access = READ_ONLY};
    struct stat st;
    rule.parent_fd = open(path, O_PATH | O_CLOEXEC);
    if (rule.parent_fd < 0)
        return;
    if (fstat(rule.parent_fd, &st) == 0 && !S_ISDIR(st.st_mode))
        rule.allowed_access = LANDLOCK_ACCESS_FS_READ_FILE;
    syscall(SYS_landlock_add_rule, rules, LANDLOCK_RULE_PATH_BENEATH, &rule, 0);
    close(rule.parent_fd);
}

static bool is_folder(int dir, const struct dirent *e)
{
    struct stat st;
    if (e->d_type == DT_DIR)
        return true;
    return e->d_type == DT_UNKNOWN && fstatat(dir, e->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISDIR(st.st_mode);
}

/* 0: no store in this folder or below it; 1: this folder is one; 2: there is one further down. */
static int store_in(const char *path, int depth)
{
    char sub[PATH_MAX];
    struct dirent *e;
    DIR *dir = opendir(path);
    if (!dir)
        return 0;
    int found = faccessat(dirfd(dir), "data.mdb", F_OK, AT_EACCESS) == 0 ? 1 : 0;
    while (!found && depth < STORE_DEPTH && (e = readdir(dir))) {
        int n = snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
        if (e->d_name[0] != '.' && is_folder(dirfd(dir), e) && n > 0 && (size_t)n < sizeof sub &&
            store_in(sub, depth + 1))
            found = 2;
    }
    closedir(dir);
    return found;
}

/* Grants what stands in a folder, one by one: all of it at once would open the store. */
static void grant_entries(int rules, const char *path, int depth)
{
    char sub[PATH_MAX];
    struct dirent *e;
    DIR *dir = opendir(path);
    while (dir && (e = readdir(dir))) {
        int n = snprintf(sub, sizeof sub, "%s/%s", path, e->d_name);
        if (e->d_name[0] == '.' || n < 0 || (size_t)n >= sizeof sub)
            continue;
        int store = is_folder(dirfd(dir), e) ? store_in(sub, depth) : 0;
        if (store == 2)
            grant_entries(rules, sub, depth + 1);
        else if (store == 0)
            grant(rules, sub);
    }
    if (dir)
        closedir(dir);
}

/* What the C library reads by itself: time zones, character sets and their tables. */
static void grant_system(int rules)
{
    static const char *const paths[] = {
        "/usr/share/zoneinfo", "/etc/localtime", "/usr/lib", "/lib", "/lib64", "/etc/ld.so.cache"};
    for (size_t i = 0; i < sizeof paths / sizeof *paths; i++)
        grant(rules, paths[i]);
}

/* A link that stands in the path by now would lead to what nobody has granted. */
static void grant_unlinked(int rules, const char *path)
{
    char real[PATH_MAX];
    if (realpath(path, real) && strcmp(path, real) == 0)
        grant(rules, path);
}

static bool confine_files(const struct ln_confine *c)
{
    int abi = (int)syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (abi < 1)
        return false;
    struct landlock_ruleset_attr attr = {.handled_access_fs = all_rights(abi)};
    int rules = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    if (rules < 0)
        return false;
    if (c->site) {
        grant_system(rules);
        grant_entries(rules, c->site, 1);
    } else {
        grant(rules, "/");
    }
    for (unsigned i = 0; i < c->nread; i++)
        grant_unlinked(rules, c->read[i]);
    bool done = syscall(SYS_landlock_restrict_self, rules, 0) == 0;
    close(rules);
    return done;
}

/* ---- system calls -------------------------------------------------------------------------- */

/* Memory, the socket, reading files, time, the limits' timer, and an end. No socket of its own, no
 * process, no signal to others, no privilege. */
static const int calls[] = {
    SCMP_SYS(read),         SCMP_SYS(readv),           SCMP_SYS(pread64),
    SCMP_SYS(write),        SCMP_SYS(writev),          SCMP_SYS(close),
    SCMP_SYS(sendto),       SCMP_SYS(recvfrom),        SCMP_SYS(shutdown),
    SCMP_SYS(poll),         SCMP_SYS(ppoll),           SCMP_SYS(lseek),
    SCMP_SYS(stat),         SCMP_SYS(lstat),           SCMP_SYS(fstat),
    SCMP_SYS(newfstatat),   SCMP_SYS(statx),           SCMP_SYS(access),
    SCMP_SYS(faccessat),    SCMP_SYS(faccessat2),      SCMP_SYS(readlink),
    SCMP_SYS(readlinkat),   SCMP_SYS(getdents64),      SCMP_SYS(getcwd),
    SCMP_SYS(fcntl),        SCMP_SYS(fadvise64),       SCMP_SYS(munmap),
    SCMP_SYS(mremap),       SCMP_SYS(madvise),         SCMP_SYS(brk),
    SCMP_SYS(futex),        SCMP_SYS(getrandom),       SCMP_SYS(clock_gettime),
    SCMP_SYS(clock_getres), SCMP_SYS(gettimeofday),    SCMP_SYS(clock_nanosleep),
    SCMP_SYS(nanosleep),    SCMP_SYS(times),           SCMP_SYS(getrusage),
    SCMP_SYS(setitimer),    SCMP_SYS(rt_sigaction),    SCMP_SYS(rt_sigprocmask),
    SCMP_SYS(rt_sigreturn), SCMP_SYS(sigaltstack),     SCMP_SYS(restart_syscall),
    SCMP_SYS(getpid),       SCMP_SYS(gettid),          SCMP_SYS(getuid),
    SCMP_SYS(geteuid),      SCMP_SYS(getgid),          SCMP_SYS(getegid),
    SCMP_SYS(prlimit64),    SCMP_SYS(set_robust_list), SCMP_SYS(rseq),
    SCMP_SYS(sched_yield),  SCMP_SYS(uname),           SCMP_SYS(sysinfo),
    SCMP_SYS(exit),         SCMP_SYS(exit_group),
};

/* An argument whose bits under mask have this value. */
static struct scmp_arg_cmp masked(unsigned arg, scmp_datum_t mask, scmp_datum_t value)
{
    return (struct scmp_arg_cmp){
        .arg = arg, .op = SCMP_CMP_MASKED_EQ, .datum_a = mask, .datum_b = value};
}

/* Files only to be read; memory executable only when it holds a library (a character set's) or the
 * script may use the JIT; signals only to itself (abort). */
static int allow_some(scmp_filter_ctx f, const struct ln_confine *c)
{
    const struct scmp_arg_cmp reading = masked(2, O_ACCMODE | O_CREAT, O_RDONLY),
                              reading_old = masked(1, O_ACCMODE | O_CREAT, O_RDONLY),
                              plain = masked(2, PROT_EXEC, 0), mapped = masked(3, MAP_ANONYMOUS, 0),
                              self = masked(0, UINT32_MAX, (scmp_datum_t)getpid());
    int rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(openat), 1, reading);
    rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(open), 1, reading_old);
    rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(tgkill), 1, self);
    if (c->net)
        rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(recvmsg), 1,
                               masked(0, UINT32_MAX, LN_NET_FD));
    if (c->jit) {
        rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 0);
        rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 0);
        return rc;
    }
    rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, plain);
    rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mmap), 1, mapped);
    rc |= seccomp_rule_add(f, SCMP_ACT_ALLOW, SCMP_SYS(mprotect), 1, plain);
    return rc;
}

static bool confine_calls(const struct ln_confine *c)
{
    /* "No such call" rather than "not permitted": the C library then tries an older way. */
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ERRNO(ENOSYS));
    if (!f)
        return false;
    int rc = allow_some(f, c);
    for (size_t i = 0; i < sizeof calls / sizeof *calls && rc == 0; i++)
        rc = seccomp_rule_add(f, SCMP_ACT_ALLOW, calls[i], 0);
    if (rc == 0)
        rc = seccomp_load(f);
    seccomp_release(f);
    return rc == 0;
}

unsigned ln_confine(const struct ln_confine *c)
{
    unsigned done = 0;
    if (ln_proc_sanitized())
        return LN_CONFINED_ALL;
    if (confine_files(c))
        done |= LN_CONFINED_FILES;
    if (confine_calls(c))
        done |= LN_CONFINED_CALLS;
    return done;
}

void ln_confine_sender(void)
{
    static const int refused[] = {SCMP_SYS(execve),
                                  SCMP_SYS(execveat),
                                  SCMP_SYS(ptrace),
                                  SCMP_SYS(process_vm_readv),
                                  SCMP_SYS(process_vm_writev),
                                  SCMP_SYS(kill),
                                  SCMP_SYS(pidfd_getfd),
                                  SCMP_SYS(bpf)};
    if (ln_proc_sanitized())
        return;
    confine_files(&(struct ln_confine){.site = NULL});
    scmp_filter_ctx f = seccomp_init(SCMP_ACT_ALLOW);
    if (!f)
        return;
    int rc = 0;
    for (size_t i = 0; i < sizeof refused / sizeof *refused && rc == 0; i++)
        rc = seccomp_rule_add(f, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
    if (rc == 0)
        (void)!seccomp_load(f);
    seccomp_release(f);
}
