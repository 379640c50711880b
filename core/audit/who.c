/* Who is behind a process: the account, who had logged in, at which terminal. */
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "audit/audit.h"

static long read_proc(int pid, const char *name, char *out, size_t cap)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, cap - 1);
    if (fd >= 0)
        close(fd);
    out[n > 0 ? n : 0] = '\0';
    return n;
}

/* The controlling terminal: field 7 of /proc/PID/stat, counted behind the name in parentheses. */
static void terminal(int pid, char *out, size_t cap)
{
    char stat[1024];
    int tty = 0;
    read_proc(pid, "stat", stat, sizeof stat);
    const char *p = strrchr(stat, ')');
    if (!p || sscanf(p + 1, " %*c %*d %*d %*d %d", &tty) != 1 || tty == 0)
        return;
    unsigned ma = major((dev_t)tty), mi = minor((dev_t)tty);
    if (ma >= 136 && ma <= 143)
        snprintf(out, cap, "pts/%u", (ma - 136) * 256 + mi);
    else if (ma == 4)
        snprintf(out, cap, mi < 64 ? "tty%u" : "ttyS%u", mi < 64 ? mi : mi - 64);
}

static void account(int64_t uid, char *out, size_t cap)
{
    char room[4096];
    struct passwd pw, *found = NULL;
    if (uid >= 0 && getpwuid_r((uid_t)uid, &pw, room, sizeof room, &found) == 0 && found)
        snprintf(out, cap, "%s", found->pw_name);
}

void ln_audit_who_peer(struct ln_audit_who *w, int64_t uid, int pid, const char *via)
{
    char text[32];
    w->uid = uid;
    w->pid = pid;
    w->login_uid = -1;
    snprintf(w->via, sizeof w->via, "%s", via);
    if (!w->user[0])
        account(uid, w->user, sizeof w->user);
    if (pid <= 0)
        return;
    if (!w->from[0])
        terminal(pid, w->from, sizeof w->from);
    if (read_proc(pid, "loginuid", text, sizeof text) > 0) {
        unsigned long id = strtoul(text, NULL, 10);
        if (id != 0xffffffffu)
            w->login_uid = (int64_t)id;
    }
}

void ln_audit_who_self(struct ln_audit_who *w, const char *via)
{
    const char *ssh = getenv("SSH_CONNECTION");
    *w = (struct ln_audit_who){0};
    ln_audit_who_peer(w, (int64_t)getuid(), (int)getpid(), via);
    if (ssh && ssh[0]) { /* a claim, unlike the rest, but one that helps */
        size_t at = strlen(w->from);
        snprintf(w->from + at, sizeof w->from - at, "%sssh %.*s", at ? " " : "",
                 (int)strcspn(ssh, " "), ssh);
    }
}
