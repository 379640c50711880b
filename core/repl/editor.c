/* readline is run through its callbacks, so that signals are ours: Ctrl-C ends the line without
 * ending the process, Ctrl-Z gives the terminal back first, the REPL's end is noticed. */
#include "repl/editor.h"

#include <errno.h>
#include <fcntl.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

#include "base/proc.h"
#include "repl/link.h"
#include "repl/news.h"

#define HISTORY_MAX 5000
#define PASTE_END   "\033[201~"

static struct {
    volatile sig_atomic_t interrupted, stopped, resized;
    bool reading, done;
    enum ln_line kind;
    struct ln_buf line;
    struct ln_span begin; /* text that the next line begins with */
    char *history; /* path, NULL = nowhere */
} e;

static void on_signal(int signo)
{
    if (signo == SIGINT)
        e.interrupted = 1;
    else if (signo == SIGTSTP)
        e.stopped = 1;
    else
        e.resized = 1;
}

static void end_line(enum ln_line kind, const char *text, size_t len)
{
    e.kind = kind;
    ln_buf_clear(&e.line, 65536);
    ln_buf_add(&e.line, text, len);
    e.done = true;
}

static void on_line(char *text)
{
    if (!e.done) /* else it is the end of a line that was pasted */
        end_line(text ? LN_LINE_TEXT : LN_LINE_END, text ? text : "", text ? strlen(text) : 0);
    rl_callback_handler_remove();
    free(text);
}

/* ---- completion --------------------------------------------------------------------------------
 */

static void show_list(struct ln_span list)
{
    if (list.len == 0)
        return;
    rl_crlf();
    fwrite(list.ptr, 1, list.len, rl_outstream);
    if (list.ptr[list.len - 1] != '\n')
        rl_crlf();
    rl_on_new_line();
    rl_forced_update_display();
}

/* The REPL's next record, while a line is read; news are kept for ln_news_show. */
static uint8_t hear(struct ln_wire_in *in)
{
    uint8_t type;
    if (!ln_link_next(&type, in) || (type != LN_P_MATCHES && type != LN_P_NEWS)) {
        ln_editor_restore();
        exit(0);
    }
    if (type == LN_P_NEWS)
        ln_news_add(ln_wire_get_bytes(in));
    return type;
}

static int complete(int count, int key)
{
    struct ln_wire_in in;
    (void)count;
    (void)key;
    size_t at = ln_link_begin(LN_P_COMPLETE);
    ln_wire_bytes(&ln_link.out, ln_span(rl_line_buffer, (size_t)rl_point));
    ln_link_send(at);
    while (hear(&in) != LN_P_MATCHES)
        ;
    int keep = (int)ln_wire_get_u32(&in);
    struct ln_span text = ln_wire_get_bytes(&in), list = ln_wire_get_bytes(&in);
    if (keep <= rl_point && text.len + 1 > (size_t)(rl_point - keep) + 0) {
        char *copy = ln_span_dup(text);
        if (copy && (keep < rl_point || *copy)) {
            rl_begin_undo_group();
            rl_delete_text(keep, rl_point);
            rl_point = keep;
            rl_insert_text(copy);
            rl_end_undo_group();
        }
        free(copy);
    }
    if (list.len == 0 && text.len == 0)
        rl_ding();
    show_list(list);
    return 0;
}

/* ---- what is pasted ----------------------------------------------------------------------------
 */

static bool is_message(const char *s)
{
    s += strspn(s, " \t\r\n\v");
    return strncmp(s, "MSH", 3) == 0 || strncmp(s, "FHS", 3) == 0 || strncmp(s, "BHS", 3) == 0;
}

static void read_paste(struct ln_buf *b)
{
    static const size_t tail = sizeof PASTE_END - 1;
    for (;;) {
        int key = rl_read_key();
        if (key < 0 || (b->len >= tail && e.interrupted))
            return;
        ln_buf_addc(b, (char)key);
        if (b->len >= tail && memcmp(b->data + b->len - tail, PASTE_END, tail) == 0) {
            b->len -= tail;
            return;
        }
    }
}

/* A terminal puts CR at the ends of pasted lines. */
static void insert_paste(struct ln_buf *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->len; i++) {
        char c = b->data[i];
        if (c == '\0' || (c == '\n' && i && b->data[i - 1] == '\r'))
            continue;
        b->data[n++] = c == '\r' ? '\n' : c == '\t' ? ' ' : c;
    }
    while (n && b->data[n - 1] == '\n') /* Enter is for the person */
        n--;
    b->len = n;
    ln_buf_addc(b, '\0');
    rl_insert_text(b->data);
}

static int paste(int count, int key)
{
    struct ln_buf b = {0};
    (void)count;
    (void)key;
    read_paste(&b);
    ln_buf_addc(&b, '\0');
    if (b.failed) {
        rl_ding();
    } else if (rl_end == 0 && is_message(b.data)) {
        end_line(LN_LINE_PASTED, b.data, b.len - 1);
        rl_done = 1;
    } else {
        b.len--;
        insert_paste(&b);
    }
    ln_buf_fini(&b);
    return 0;
}

/* ---- reading -----------------------------------------------------------------------------------
 */

static int put_begin(void)
{
    if (e.begin.len) {
        char *copy = strndup(e.begin.ptr, e.begin.len);
        rl_insert_text(copy ? copy : "");
        free(copy);
    }
    e.begin = ln_span(NULL, 0);
    return 0;
}

static void interrupt(void)
{
    rl_free_line_state();
    rl_callback_sigcleanup();
    fputs("^C", rl_outstream);
    rl_crlf();
    fflush(rl_outstream);
    rl_callback_handler_remove();
    end_line(LN_LINE_INTERRUPTED, "", 0);
}

static void stop(void)
{
    rl_deprep_terminal();
    kill(getpid(), SIGSTOP);
    rl_prep_terminal(1);
    rl_on_new_line();
    rl_forced_update_display();
}

static void heed_signals(void)
{
    if (e.stopped) {
        e.stopped = 0;
        stop();
    }
    if (e.resized) {
        e.resized = 0;
        rl_resize_terminal();
    }
    if (e.interrupted) {
        e.interrupted = 0;
        interrupt();
    }
}

static void loop(void)
{
    sigset_t ours, before;
    sigemptyset(&ours);
    sigaddset(&ours, SIGINT);
    sigaddset(&ours, SIGTSTP);
    sigaddset(&ours, SIGWINCH);
    struct ln_wire_in in;
    while (!e.done) {
        struct pollfd fds[] = {{.fd = STDIN_FILENO, .events = POLLIN},
                               {.fd = LN_PROC_FD, .events = POLLIN}};
        while (ln_link_waiting())
            hear(&in);
        ln_news_show();
        sigprocmask(SIG_BLOCK, &ours, &before);
        if (e.interrupted || e.stopped || e.resized) {
            sigprocmask(SIG_SETMASK, &before, NULL);
            heed_signals();
            continue;
        }
        int n = ppoll(fds, 2, NULL, &before);
        sigprocmask(SIG_SETMASK, &before, NULL);
        if (n < 0 && errno != EINTR)
            end_line(LN_LINE_END, "", 0);
        else if (n > 0 && fds[1].revents)
            hear(&in);
        else if (n > 0 && fds[0].revents)
            rl_callback_read_char();
    }
}

void ln_editor_read(struct ln_span prompt, struct ln_span text)
{
    char *shown = ln_span_dup(prompt);
    e.done = false;
    e.interrupted = e.stopped = 0;
    e.begin = text;
    e.reading = true;
    rl_callback_handler_install(shown ? shown : "> ", on_line);
    loop();
    e.reading = false;
    rl_callback_handler_remove();
    free(shown);
    size_t at = ln_link_begin(LN_P_LINE);
    ln_wire_u8(&ln_link.out, (uint8_t)e.kind);
    ln_wire_bytes(&ln_link.out, ln_buf_span(&e.line));
    ln_link_send(at);
}

void ln_editor_restore(void)
{
    if (e.reading)
        rl_callback_handler_remove();
}

/* ---- history -----------------------------------------------------------------------------------
 */

static void make_folders(char *path)
{
    for (char *p = path + 1; (p = strchr(p, '/')); p++) {
        *p = '\0';
        mkdir(path, 0700);
        *p = '/';
    }
}

void ln_editor_history(struct ln_span path)
{
    char *p = ln_span_dup(path);
    free(e.history);
    e.history = NULL;
    if (!p)
        return;
    make_folders(p);
    int fd = open(p, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    struct stat st;
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) && fchmod(fd, 0600) == 0) {
        e.history = p;
        read_history(p);
        if (history_length >= HISTORY_MAX) {
            history_truncate_file(p, HISTORY_MAX);
            chmod(p, 0600);
        }
        p = NULL;
    }
    if (fd >= 0)
        close(fd);
    free(p);
}

void ln_editor_remember(struct ln_span line)
{
    char *copy = ln_span_dup(line);
    HIST_ENTRY *last = history_length ? history_get(history_base + history_length - 1) : NULL;
    if (copy && *copy && !(last && strcmp(last->line, copy) == 0)) {
        add_history(copy);
        if (e.history)
            append_history(1, e.history);
    }
    free(copy);
}

/* ---- beginning ---------------------------------------------------------------------------------
 */

/* A terminal of today speaks UTF-8, whether the environment says so or not. */
static void set_locale(void)
{
    setlocale(LC_ALL, "");
    if (strcmp(nl_langinfo(CODESET), "ANSI_X3.4-1968") == 0)
        setlocale(LC_CTYPE, "C.UTF-8");
}

static void catch_signal(int signo)
{
    struct sigaction sa;
    memset(&sa, 0, sizeof sa);
    sa.sa_handler = on_signal;
    sigemptyset(&sa.sa_mask);
    sigaction(signo, &sa, NULL);
}

void ln_editor_init(void)
{
    set_locale();
    signal(SIGPIPE, SIG_IGN);
    catch_signal(SIGINT);
    catch_signal(SIGTSTP);
    catch_signal(SIGWINCH);
    rl_readline_name = "lunate";
    rl_catch_signals = 0;
    rl_catch_sigwinch = 0;
    rl_startup_hook = put_begin;
    rl_initialize();
    using_history();
    stifle_history(HISTORY_MAX);
    history_write_timestamps = 1; /* an entry of several lines stays one */
    history_comment_char = '#';
    rl_variable_bind("enable-bracketed-paste", "on");
    rl_variable_bind("history-preserve-point", "off");
    rl_bind_key('\t', complete);
    rl_bind_keyseq("\033[200~", paste);
}
