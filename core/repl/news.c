#include "repl/news.h"

#include <stdio.h>

#include <readline/readline.h>

#include "base/buf.h"

#define BUSY (RL_STATE_ISEARCH | RL_STATE_NSEARCH | RL_STATE_NUMERICARG | RL_STATE_VIMOTION)

static struct ln_buf news;

void ln_news_add(struct ln_span text)
{
    ln_buf_add_span(&news, text);
}

void ln_news_show(void)
{
    if (news.len == 0 || RL_ISSTATE(BUSY))
        return;
    rl_clear_visible_line();
    fwrite(news.data, 1, news.len, rl_outstream);
    if (news.data[news.len - 1] != '\n')
        rl_crlf();
    ln_buf_clear(&news, 65536);
    rl_on_new_line();
    rl_forced_update_display();
}
