/* One line at a time from the terminal, by GNU readline: completion that the REPL answers, history
 * in a file of mode 0600, a pasted message taken whole. */
#ifndef LN_REPL_EDITOR_H
#define LN_REPL_EDITOR_H

#include "base/span.h"

void ln_editor_init(void);
/* Reads a line and reports it (LINE). prompt: what is between \1 and \2 takes no room. text: what
 * the line begins with. */
void ln_editor_read(struct ln_span prompt, struct ln_span text);
/* Adds a line to the history and to its file. */
void ln_editor_remember(struct ln_span line);
/* Reads the history from a file, and writes it there from now on. Folders above it are made. */
void ln_editor_history(struct ln_span path);
/* Gives the terminal back as it was. */
void ln_editor_restore(void);

#endif
