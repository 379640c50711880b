/* bench_prompt PROMPT COMMAND...: runs a command in a pseudo-terminal and prints how many
 * milliseconds passed from before fork until the prompt stood there (escape sequences aside), or,
 * with an empty PROMPT, until the program had ended. */
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static char seen[1 << 16];
static size_t len;

static double now_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6;
}

/* Keeps what shows: no ESC [ ... LETTER, no \1 and \2. */
static void add(const char *p, size_t n)
{
    static int state; /* 0: text, 1: behind ESC, 2: within ESC [ */
    for (; n && len + 1 < sizeof seen; n--, p++) {
        if (state == 2)
            state = *p >= '@' && *p <= '~' ? 0 : 2;
        else if (state == 1)
            state = *p == '[' ? 2 : 0;
        else if (*p == '\033')
            state = 1;
        else
            seen[len++] = *p;
    }
}

static bool wait_for(int fd, const char *prompt)
{
    char chunk[4096];
    ssize_t n;
    while ((n = read(fd, chunk, sizeof chunk)) > 0) {
        add(chunk, (size_t)n);
        if (*prompt && strstr(seen, prompt))
            return true;
    }
    return !*prompt;
}

int main(int argc, char **argv)
{
    int fd;
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    if (argc < 3)
        return 2;
    double start = now_ms();
    pid_t pid = forkpty(&fd, NULL, NULL, &size);
    if (pid == 0) {
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    bool found = pid > 0 && wait_for(fd, argv[1]);
    double took = now_ms() - start;
    if (pid > 0) {
        close(fd); /* its terminal is gone: SIGHUP, end of input */
        kill(pid, SIGTERM);
        waitpid(pid, NULL, 0);
    }
    if (!found) {
        fprintf(stderr, "no prompt from %s:\n%s\n", argv[2], seen);
        return 1;
    }
    printf("%.2f\n", took);
    return 0;
}
