/* key rotate: the operator's keys are read anew; the store's data keys are wrapped with the first
 * of them, and a new data key is used from then on. Reading may take a command's time: that is a
 * thread's, and the loop goes on. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "crypt/keys.h"
#include "hub/control.h"

enum stage { READING, READ, COMMITTING, DONE };

static const double LIMIT_S = 60; /* a command has 30 s */

struct rotation {
    struct ln_asker *asker;
    pthread_t thread;
    atomic_int stage;
    char *site, *file, *command;
    struct ln_keys *keys;
    char id[LN_KEYS_ID_TEXT];
    int code;
    bool abandoned; /* nobody waits for the store's answer any longer */
    struct ln_err err;
};

static void *read_keys(void *arg)
{
    struct rotation *r = arg;
    r->code = ln_keys_get(r->site, r->file, r->command, &r->keys, &r->err);
    atomic_store(&r->stage, READ);
    return NULL;
}

static void rotation_free(struct rotation *r)
{
    free(r->site);
    free(r->file);
    free(r->command);
    free(r);
}

static void on_rekeyed(void *arg, int code, uint64_t seq)
{
    struct rotation *r = arg;
    (void)seq;
    r->code = code;
    if (code != LN_OK)
        ln_err_set(&r->err, code, "the store could not take the key: %s", ln_strerror(code));
    atomic_store(&r->stage, DONE);
    if (r->abandoned)
        rotation_free(r);
}

static void tell(struct rotation *r)
{
    if (r->code != LN_OK) {
        ln_log(LN_ERROR, "hub", "key_not_rotated", "why=\"%s\"", r->err.text);
        ln_asker_fail(r->asker, 1, "%s", r->err.text);
        return;
    }
    snprintf(r->asker->hub->key_id, sizeof r->asker->hub->key_id, "%s", r->id);
    r->asker->hub->archive_stale = true; /* archives are to be written with it, too */
    ln_log(LN_INFO, "hub", "key_rotated", "key=%s", r->id);
    ln_asker_done(r->asker, "key", r->id);
}

/* The thread has ended: what it read goes to the store. */
static void take(struct rotation *r)
{
    struct ln_hub *h = r->asker->hub;
    pthread_join(r->thread, NULL);
    atomic_store(&r->stage, DONE);
    if (r->code != LN_OK)
        return;
    ln_keys_id(r->keys, 0, r->id);
    ln_store_keys(ln_keys_ref(r->keys));
    r->code = LN_EAGAIN;
    atomic_store(&r->stage, COMMITTING);
    int rc = ln_store_rekey(h->store, r->keys, on_rekeyed, r);
    if (rc != LN_OK)
        on_rekeyed(r, rc, 0);
}

/* What waits is freed by who waits; the rotation outlives it when the store cannot commit. */
struct handle {
    struct rotation *rotation;
};

static bool rotated(struct ln_asker *k, void *arg, bool late)
{
    struct rotation *r = ((struct handle *)arg)->rotation;
    (void)k;
    if (atomic_load(&r->stage) == READ || (late && atomic_load(&r->stage) == READING))
        take(r);
    if (atomic_load(&r->stage) == COMMITTING && !late)
        return false;
    if (atomic_load(&r->stage) == READING)
        return false;
    if (atomic_load(&r->stage) == COMMITTING)
        ln_err_set(&r->err, LN_ETIMEOUT, "the key waits to be committed: see lunate status");
    tell(r);
    if (atomic_load(&r->stage) == COMMITTING)
        r->abandoned = true;
    else
        rotation_free(r);
    return true;
}

void ln_verb_key(struct ln_asker *k, char **word, unsigned n)
{
    struct ln_hub *h = k->hub;
    (void)n;
    if (strcmp(word[1], "rotate") != 0) {
        ln_asker_fail(k, 2, "there is no key %s", word[1]);
        return;
    }
    if (!h->key_file && !h->key_command) {
        ln_asker_fail(k, 1,
                      "lunate.lua names no key: it needs encryption = { key_file = \"...\" }");
        return;
    }
    struct rotation *r = calloc(1, sizeof *r);
    struct handle *handle = calloc(1, sizeof *handle);
    sigset_t all, old;
    int rc = -1;
    if (r && handle && (r->site = strdup(h->site)) != NULL) {
        handle->rotation = r;
        r->asker = k;
        r->file = h->key_file ? strdup(h->key_file) : NULL;
        r->command = h->key_command ? strdup(h->key_command) : NULL;
        sigfillset(&all); /* signals are the loop's */
        pthread_sigmask(SIG_SETMASK, &all, &old);
        rc = pthread_create(&r->thread, NULL, read_keys, r);
        pthread_sigmask(SIG_SETMASK, &old, NULL);
    }
    if (rc == 0) {
        ln_asker_wait(k, LIMIT_S, rotated, handle);
        return;
    }
    if (r)
        rotation_free(r);
    free(handle);
    ln_asker_fail(k, 1, "out of memory");
}
