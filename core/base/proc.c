#include "base/proc.h"

#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

/* Behind fork: only what is async-signal-safe. */
static void become(const char *exe, const char *const argv[], int sock)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
    if (sock == LN_PROC_FD)
        fcntl(sock, F_SETFD, 0);
    else if (dup2(sock, LN_PROC_FD) < 0)
        _exit(127);
    execv(exe, (char *const *)argv);
    _exit(127);
}

int ln_proc_spawn(const char *exe, const char *const argv[], int *fd, int *pid, struct ln_err *err)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return ln_err_set(err, ln_code_from_errno(errno), "no socketpair: %s", strerror(errno));
    pid_t child = fork();
    if (child == 0)
        become(exe, argv, pair[1]);
    int saved = errno;
    close(pair[1]);
    if (child < 0) {
        close(pair[0]);
        return ln_err_set(err, ln_code_from_errno(saved), "cannot start a process: %s",
                          strerror(saved));
    }
    *fd = pair[0];
    *pid = (int)child;
    return LN_OK;
}

bool ln_proc_fork(int *fd, int *pid)
{
    int pair[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) != 0)
        return false;
    pid_t child = fork();
    if (child == 0) {
        if (pair[1] != LN_PROC_FD && dup2(pair[1], LN_PROC_FD) < 0)
            _exit(127);
        closefrom(LN_PROC_FD + 1);
    } else {
        close(pair[1]);
        if (child < 0)
            close(pair[0]);
    }
    *fd = pair[0];
    *pid = (int)child;
    return child >= 0;
}

int ln_proc_kill(int pid)
{
    int status = 0;
    kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return status;
}

double ln_proc_cpu_s(int pid)
{
    clockid_t clock;
    struct timespec t;
    if (pid <= 0 || clock_getcpuclockid(pid, &clock) != 0 || clock_gettime(clock, &t) != 0)
        return 0;
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

const char *ln_proc_self(void)
{
    return "/proc/self/exe";
}

bool ln_proc_has_socket(void)
{
    struct stat st;
    return fstat(LN_PROC_FD, &st) == 0 && S_ISSOCK(st.st_mode);
}

static void limit(__rlimit_resource_t what, size_t most)
{
    struct rlimit r = {most, most};
    setrlimit(what, &r);
}

bool ln_proc_sanitized(void)
{
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
    return true;
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
    return true;
#else
    return false;
#endif
#else
    return false;
#endif
}

static void seal(int keep_fd)
{
    static const int ignored[] = {SIGINT, SIGTERM, SIGHUP, SIGPIPE};
    int parent = (int)getppid();
    prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if ((int)getppid() != parent) /* it died in between */
        _exit(0);
    prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    limit(RLIMIT_CORE, 0);
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++)
        signal(ignored[i], SIG_IGN);
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int i = 0; null >= 0 && i <= 2; i++)
        dup2(null, i);
    closefrom(keep_fd + 1);
}

void ln_proc_seal(int keep_fd, size_t address_space)
{
    seal(keep_fd);
    limit(RLIMIT_FSIZE, 0);
    if (address_space && !ln_proc_sanitized())
        limit(RLIMIT_AS, address_space);
}

void ln_proc_seal_writer(int keep_fd)
{
    seal(keep_fd);
}

static int shed_object(struct dl_phdr_info *object, size_t size, void *unused)
{
    (void)size;
    (void)unused;
    size_t page = (size_t)sysconf(_SC_PAGESIZE);
    for (int i = 0; i < object->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &object->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || (part->p_flags & PF_W))
            continue;
        size_t at = object->dlpi_addr + part->p_vaddr, from = at & ~(page - 1);
        madvise((void *)from, at + part->p_memsz - from, MADV_DONTNEED); /* advice: may fail */
    }
    return 0;
}

void ln_proc_shed(void)
{
    if (ln_proc_sanitized()) /* its run time keeps books of its own */
        return;
    malloc_trim(0);
    dl_iterate_phdr(shed_object, NULL);
}

void ln_proc_title(int argc, char **argv, const char *title)
{
    char *end = argv[0];
    for (int i = 0; i < argc; i++)
        if (argv[i] == end)
            end += strlen(argv[i]) + 1;
    size_t n = 0;
    while (environ && environ[n])
        n++;
    char **copy = calloc(n + 1, sizeof *copy);
    if (!copy)
        return;
    for (size_t i = 0; i < n; i++) {
        if (environ[i] == end)
            end += strlen(environ[i]) + 1;
        if (!(copy[i] = strdup(environ[i])))
            return;
    }
    environ = copy;
    size_t room = (size_t)(end - argv[0]);
    memset(argv[0], 0, room);
    snprintf(argv[0], room, "%s", title);
    for (int i = 1; i < argc; i++)
        argv[i] = NULL;
}
