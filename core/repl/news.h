/* What the REPL has to tell while a line is being typed: it goes above that line, which stays as it
 * is. */
#ifndef LN_REPL_NEWS_H
#define LN_REPL_NEWS_H

#include "base/span.h"

void ln_news_add(struct ln_span text);
/* Shows what was added, unless readline is about something that a redrawn line would disturb (a
 * search, say): then at a later call. */
void ln_news_show(void);

#endif
