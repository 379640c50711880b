/* Key-encryption keys: what the operator keeps outside of the data folder.
 *
 * A ring holds one or more keys of 32 bytes; the first is the present one, the others open what was
 * locked before a rotation. They encrypt nothing but data keys ("wrap" them). Text form: one key a
 * line, 64 hexadecimal digits or 44 characters of base64; empty lines and lines that begin with #
 * do not count. 32 raw bytes are one key.
 *
 * Keys are named by an id, 8 bytes of a hash: it may be shown and stored, nothing follows from it.
 */
#ifndef LN_CRYPT_KEYS_H
#define LN_CRYPT_KEYS_H

#include <stdbool.h>
#include <stddef.h>

#include "crypt/aead.h"

#define LN_KEYS_MAX     32u
#define LN_KEYS_ID      8u
#define LN_KEYS_ID_TEXT 17u /* its hexadecimal form, with the end */
/* A wrapped data key: {u8 1, id, nonce, key, tag} */
#define LN_WRAPPED (1u + LN_KEYS_ID + LN_AEAD_NONCE + LN_AEAD_KEY + LN_AEAD_TAG)

struct ln_keys;

/* `source` is how errors name it. Wipes nothing of text. LN_EPARSE says which line is wrong. */
int ln_keys_parse(struct ln_span text, const char *source, struct ln_keys **out,
                  struct ln_err *err) LN_MUST;
/* Refuses a file that others can read or that the group can change. */
int ln_keys_read(const char *path, struct ln_keys **out, struct ln_err *err) LN_MUST;
/* What a shell command writes to its standard output; it must end well within 30 s. */
int ln_keys_run(const char *command, struct ln_keys **out, struct ln_err *err) LN_MUST;
/* As the site file names them (either may be NULL or ""; not both set). A relative file name is
 * looked for in $CREDENTIALS_DIRECTORY (systemd's) first, then in the site's folder. */
int ln_keys_get(const char *site, const char *file, const char *command, struct ln_keys **out,
                struct ln_err *err) LN_MUST;
/* Makes a file with one new key, mode 0600; the file must not be there (LN_EEXIST), unless `add`:
 * then the new key is put before those in it, and the file is replaced in one step, with the owner
 * and mode it had. id: of the new one. */
int ln_keys_make(const char *path, bool add, char id[LN_KEYS_ID_TEXT], struct ln_err *err) LN_MUST;
struct ln_keys *ln_keys_ref(struct ln_keys *k);
void ln_keys_unref(struct ln_keys *k); /* wipes with the last one; k may be NULL */

unsigned ln_keys_count(const struct ln_keys *k);
/* Where they came from, for messages. */
const char *ln_keys_source(const struct ln_keys *k);
void ln_keys_id(const struct ln_keys *k, unsigned i, char text[LN_KEYS_ID_TEXT]);
/* Number of the key that a data key was wrapped with; -1 = none of these. */
int ln_keys_find(const struct ln_keys *k, struct ln_span wrapped);
/* The id that a wrapped key names. */
void ln_keys_wrapped_id(struct ln_span wrapped, char text[LN_KEYS_ID_TEXT]);

/* Wraps a data key with the first key. `with` says what it is for: it opens for that alone. */
int ln_keys_wrap(const struct ln_keys *k, struct ln_span with, const unsigned char *key,
                 unsigned char out[LN_WRAPPED]) LN_MUST;
/* LN_ENOTFOUND: wrapped with a key that is not here. LN_EPARSE: damaged, or for something else. */
int ln_keys_unwrap(const struct ln_keys *k, struct ln_span with, struct ln_span wrapped,
                   unsigned char *key) LN_MUST;

#endif
