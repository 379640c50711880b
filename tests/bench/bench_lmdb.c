/* bench_lmdb PORT DIR: receives, puts one record a message into LMDB with its default, synced
 * commit, then acknowledges. Group commit: a committer thread takes whatever gathered while it was
 * syncing. This is the floor under any durable receiver on LMDB. */
#include <lmdb.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/stat.h>

#include "server.h"

struct entry {
    int fd;
    unsigned generation;
    size_t off, len; /* the message, in the batch's bytes */
    char ack[ACK_MAX];
    size_t ack_len;
};

struct batch {
    struct entry *entry;
    size_t n, cap;
    char *bytes;
    size_t len, bytes_cap;
};

static MDB_env *env;
static MDB_dbi dbi;
static uint64_t next_key = 1;
static int wake_fd;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t some = PTHREAD_COND_INITIALIZER;
/* Gathering -> syncing -> done. The loop may only add to the first and take the last. */
static struct batch batches[3];
static struct batch *gathering = &batches[0], *syncing = &batches[1], *done = &batches[2];
static bool done_full;

static void swap(struct batch **a, struct batch **b)
{
    struct batch *t = *a;
    *a = *b;
    *b = t;
}

static void check(int rc, const char *what)
{
    if (rc != 0) {
        fprintf(stderr, "%s: %s\n", what, mdb_strerror(rc));
        exit(1);
    }
}

static void commit(const struct batch *b)
{
    MDB_txn *txn;
    check(mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
    for (size_t i = 0; i < b->n; i++) {
        uint64_t key = next_key++;
        MDB_val k = {sizeof key, &key}, v = {b->entry[i].len, b->bytes + b->entry[i].off};
        check(mdb_put(txn, dbi, &k, &v, MDB_APPEND), "mdb_put");
    }
    check(mdb_txn_commit(txn), "mdb_txn_commit");
}

static void *committer(void *arg)
{
    (void)arg;
    for (;;) {
        pthread_mutex_lock(&lock);
        while (gathering->n == 0)
            pthread_cond_wait(&some, &lock);
        swap(&gathering, &syncing);
        pthread_mutex_unlock(&lock);
        commit(syncing);
        pthread_mutex_lock(&lock);
        while (done_full)
            pthread_cond_wait(&some, &lock);
        swap(&syncing, &done);
        done_full = true;
        pthread_mutex_unlock(&lock);
        uint64_t one = 1;
        if (write(wake_fd, &one, sizeof one) < 0)
            die("write");
    }
    return NULL;
}

static void on_frame(struct conn *c, const char *data, size_t len)
{
    pthread_mutex_lock(&lock);
    struct batch *b = gathering;
    if (b->n == b->cap) {
        b->cap = b->cap * 2 + 64;
        b->entry = realloc(b->entry, b->cap * sizeof *b->entry);
        if (!b->entry)
            die("realloc");
    }
    grow(&b->bytes, &b->bytes_cap, b->len + len);
    memcpy(b->bytes + b->len, data, len);
    struct entry *e = &b->entry[b->n++];
    *e = (struct entry){.fd = c->fd, .generation = c->generation, .off = b->len, .len = len};
    e->ack_len = make_ack(data, len, e->ack);
    b->len += len;
    pthread_cond_broadcast(&some);
    pthread_mutex_unlock(&lock);
}

static void on_wake(void)
{
    uint64_t n;
    if (read(wake_fd, &n, sizeof n) < 0)
        return;
    /* `done` is the loop's own while done_full is set. */
    for (size_t i = 0; i < done->n; i++) {
        struct entry *e = &done->entry[i];
        struct conn *c = &conns[e->fd];
        if (c->generation != e->generation)
            continue;
        conn_say(c, e->ack, e->ack_len);
        conn_flush(c);
    }
    done->n = done->len = 0;
    pthread_mutex_lock(&lock);
    done_full = false;
    pthread_cond_broadcast(&some);
    pthread_mutex_unlock(&lock);
}

int main(int argc, char **argv)
{
    MDB_txn *txn;
    pthread_t thread;
    if (argc != 3) {
        fprintf(stderr, "usage: bench_lmdb PORT DIR\n");
        return 2;
    }
    mkdir(argv[2], 0700);
    check(mdb_env_create(&env), "mdb_env_create");
    check(mdb_env_set_mapsize(env, (size_t)1 << 36), "mdb_env_set_mapsize");
    check(mdb_env_open(env, argv[2], 0, 0600), "mdb_env_open");
    check(mdb_txn_begin(env, NULL, 0, &txn), "mdb_txn_begin");
    check(mdb_dbi_open(txn, NULL, MDB_INTEGERKEY, &dbi), "mdb_dbi_open");
    check(mdb_drop(txn, dbi, 0), "mdb_drop");
    check(mdb_txn_commit(txn), "mdb_txn_commit");
    wake_fd = eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    serve_on(atoi(argv[1]));
    struct epoll_event ev = {.events = EPOLLIN, .data.fd = wake_fd};
    epoll_ctl(epoll_fd, EPOLL_CTL_ADD, wake_fd, &ev);
    if (pthread_create(&thread, NULL, committer, NULL) != 0)
        die("pthread_create");
    serve(wake_fd, on_wake);
}
