/* LD_PRELOAD for worker_fuzz_spec: workers of the channels that BADWORKER_OF names ("one two ")
 * spoil a share of what they send to the hub: lies (records that parse, and say what is not so) and
 * nonsense (records that no worker sends, some of them with the message's content in places that
 * are for a place in a script). BADWORKER names the file whose counters they share, BADWORKER_SEED
 * what is drawn from; the n-th worker of a channel draws the same numbers each time.
 * BADWORKER_ONLY=KIND:TYPE: that nonsense in the place of the first record of that type, and
 * nothing else. */
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { HUB = 3, NET = 4, HEADER = 5, LONGEST = 1 << 16, ROOM = 4 << 20, NONSENSE = 200 };
enum { HELLO = 1, READY = 7, FAILED, RESULT, LOG };

static struct counters {
    uint64_t started, sent, lies, nonsense, asked, kind[32];
} * shared;
static uint64_t state;
static uint16_t forbidden;
static int only = -1, only_type; /* nothing but this kind of nonsense, once */
static unsigned char out[ROOM], record[2 * LONGEST];
static size_t out_len;

static uint64_t draw(uint64_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return (state * 0x2545F4914F6CDD1Du >> 33) % n;
}

static uint32_t get(const unsigned char *p)
{
    uint32_t v;
    memcpy(&v, p, 4);
    return v;
}

static void put(unsigned char *p, uint64_t v, size_t n)
{
    memcpy(p, &v, n);
}

static void append(const unsigned char *p, size_t n)
{
    if (n > ROOM - out_len)
        n = ROOM - out_len;
    memcpy(out + out_len, p, n);
    out_len += n;
}

static uint32_t odd_number(void)
{
    static const uint32_t list[] = {0,      1,       2,          3,          16,       255,
                                    0xffff, 0x10000, 0x7fffffff, 0xffffffff, 99999999, 200u << 20};
    return list[draw(sizeof list / sizeof *list)];
}

static void other_seq(unsigned char *p)
{
    uint64_t v, n = draw(6);
    memcpy(&v, p, 8);
    put(p, n < 4 ? v + n - 2 + (n >= 2) : n == 4 ? draw(5000) : ~0ull - draw(3), 8);
}

/* Where the outputs' count stands in a RESULT; 0: not found. */
static size_t outputs_at(const unsigned char *r, size_t len)
{
    size_t at = HEADER + 13;
    for (int i = 0; i < 3 && at + 4 <= len; i++)
        at += 4 + (size_t)get(r + at);
    return at + 4 <= len ? at : 0;
}

/* Where the count of kv pairs stands behind the outputs at `at`; 0: not found. */
static size_t kv_at(const unsigned char *r, size_t len, size_t at)
{
    uint32_t n = at ? get(r + at) : 0;
    for (at += at ? 4 : len; n && at + 11 <= len; n--)
        at += 11 + (size_t)get(r + at + 7);
    return at + 4 <= len ? at : 0;
}

static void end(unsigned char *r, size_t len)
{
    put(r, len - 4, 4);
}

/* A record that is well made: each changes r, of *len bytes with its header. */
static void lie(unsigned char *r, size_t *len)
{
    size_t at = r[4] == RESULT ? outputs_at(r, *len) : 0;
    unsigned kind = (unsigned)draw(r[4] == RESULT ? 9 : 3);
    __atomic_add_fetch(&shared->kind[kind + (r[4] == RESULT ? 3 : 0)], 1, __ATOMIC_RELAXED);
    if (r[4] == LOG) {
        if (kind == 0)
            other_seq(r + HEADER);
        else if (kind == 1)
            r[*len - 1 - draw(4)] ^= (unsigned char)(1 << draw(8));
        else
            r[HEADER + 8] = (unsigned char)draw(4);
        return;
    }
    bool some = at && get(r + at) && at + 15 <= *len;
    switch (kind) {
    case 0: r[HEADER + 8] = (unsigned char)(1 + draw(3)); break;
    case 1: put(r + HEADER + 9, odd_number(), 4); break;
    case 2: /* for another destination, perhaps one that there is not */
        if (some)
            put(r + at + 4, draw(16) ? draw(2) : odd_number(), 2);
        break;
    case 3:
        if (some)
            r[at + 6] = (unsigned char)(1 + draw(5));
        break;
    case 4: r[*len - 1 - draw(*len / 4)] ^= (unsigned char)(1 << draw(8)); break;
    case 5: /* one more kv pair: any key */
        if ((at = kv_at(r, *len, at)) != 0) {
            uint32_t n = (uint32_t)draw(draw(8) ? 300 : 700);
            put(r + at, get(r + at) + 1, 4);
            r[*len] = (unsigned char)draw(2);
            put(r + *len + 1, n, 4);
            memset(r + *len + 5, (int)draw(256), n);
            put(r + *len + 5 + n, 0, 4);
            *len += 9 + n;
        }
        break;
    case 6: /* words where there were none, at the reason: not a place, but content */
    case 7:
        if (get(r + HEADER + 13) == 0) {
            static const char said[] = "said by QUILLFEATHER\rMSA|AA|X\r";
            memmove(r + HEADER + 17 + sizeof said - 1, r + HEADER + 17, *len - HEADER - 17);
            memcpy(r + HEADER + 17, said, sizeof said - 1);
            put(r + HEADER + 13, sizeof said - 1, 4);
            *len += sizeof said - 1;
        }
        break;
    default:
        if (some)
            put(r + at + 7, odd_number(), 4);
    }
    end(r, *len);
}

static void text_of(unsigned char *r, size_t *len, unsigned char type)
{
    static const char said[] = "channels/QUILLFEATHER^ANNA 1931-02-03:7";
    r[4] = type;
    *len = HEADER;
    if (type == LOG) { /* u64, u8 */
        memset(r + HEADER, 0, 8);
        r[HEADER + 8] = 3; /* error */
        *len += 9;
    }
    put(r + *len, sizeof said - 1, 4);
    memcpy(r + *len + 4, said, sizeof said - 1);
    *len += 4 + sizeof said - 1;
    if (type == LOG) {
        put(r + *len, 0, 4);
        *len += 4;
    }
    end(r, *len);
}

static void nonsense(unsigned char *r, size_t *len)
{
    static const unsigned char at_start[] = {3, 5, 7, 9};
    bool starts = r[4] == HELLO || r[4] == READY;
    unsigned kind = starts ? at_start[draw(4)] : (unsigned)draw(14);
    if (only >= 0)
        kind = (unsigned)only;
    size_t at = r[4] == RESULT ? outputs_at(r, *len) : 0;
    __atomic_add_fetch(&shared->kind[12 + kind], 1, __ATOMIC_RELAXED);
    switch (kind) {
    case 0:
        for (uint64_t n = 1 + draw(8); n; n--)
            r[draw(*len)] ^= (unsigned char)(1 << draw(8));
        break;
    case 1: r[draw(*len)] = (unsigned char)draw(256); break;
    case 2: *len = 1 + draw(*len); break; /* cut, and the next one follows at once */
    case 3:
        *len = HEADER + draw(*len - HEADER + 1);
        end(r, *len);
        break;
    case 4: put(r, odd_number(), 4); break;
    case 5: r[4] = (unsigned char)draw(140); break;
    case 6: other_seq(r + HEADER); break;
    case 7:
        for (uint64_t n = 1 + draw(300); n; n--) /* the same again */
            append(r, *len);
        break;
    case 8: put(r + (at ? at : *len - 4), odd_number(), 4); break;
    case 9: put(r + HEADER + draw(*len - HEADER - 3), odd_number(), 4); break;
    case 10:
        *len = 1 + draw(300);
        for (size_t i = 0; i < *len; i++)
            r[i] = (unsigned char)draw(256);
        break;
    case 11: text_of(r, len, FAILED); break;
    case 12: text_of(r, len, LOG); break;
    default: /* lines without end */
        text_of(r, len, LOG);
        for (int i = 0; i < 5000; i++)
            append(r, *len);
    }
}

/* What it may not connect to, asked for in many spellings; nobody reads the answers. */
static void ask_for_more(void)
{
    static const char *const hosts[] = {"127.0.0.1", "localhost", "127.1", "::1", "0.0.0.0", ""};
    unsigned char p[300];
    const char *host = hosts[draw(6)];
    size_t n = strlen(host), len = 14 + n;
    put(p, draw(1000), 4);
    put(p + 4, odd_number(), 4);
    put(p + 8, forbidden, 2);
    put(p + 10, n, 4);
    memcpy(p + 14, host, n);
    if (draw(4) == 0)
        put(p + 10, odd_number(), 4);
    if (draw(40) == 0)
        len = draw(len);
    if (syscall(SYS_sendto, NET, p, len, MSG_DONTWAIT | MSG_NOSIGNAL, NULL, 0) >= 0)
        __atomic_add_fetch(&shared->asked, 1, __ATOMIC_RELAXED);
}

static void spoil(const unsigned char *r, size_t len)
{
    bool starts = r[4] == HELLO || r[4] == READY;
    __atomic_add_fetch(&shared->sent, 1, __ATOMIC_RELAXED);
    if (len > LONGEST || len < HEADER + 4 || (starts && only < 0 && draw(16))) {
        append(r, len);
        return;
    }
    memcpy(record, r, len);
    if (only >= 0) {
        if (r[4] == only_type && __atomic_fetch_add(&shared->nonsense, 1, __ATOMIC_RELAXED) == 0)
            nonsense(record, &len);
    } else if (starts || draw(NONSENSE) == 0) {
        __atomic_add_fetch(&shared->nonsense, 1, __ATOMIC_RELAXED);
        nonsense(record, &len);
    } else if ((r[4] == RESULT || r[4] == LOG) && draw(10) < 8) {
        size_t was = len;
        lie(record, &len);
        if (len != was || memcmp(record, r, len) != 0) /* it may draw what is there already */
            __atomic_add_fetch(&shared->lies, 1, __ATOMIC_RELAXED);
    }
    append(record, len);
}

static ssize_t give(int fd, const void *data, size_t n, int flags)
{
    return syscall(SYS_sendto, fd, data, n, flags, NULL, 0);
}

/* The nursery's children are the workers; the name of its channel stands in a worker's title. */
static const char *title;
static pid_t nursery;

static void begin(void)
{
    const char *of = getenv("BADWORKER_OF"), *path = getenv("BADWORKER");
    const char *seed = getenv("BADWORKER_SEED"), *port = getenv("BADWORKER_FORBIDDEN");
    const char *name = strrchr(title, ' ');
    if (!of || !path || !name || !strstr(of, ++name))
        return;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    void *at = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    if (at == MAP_FAILED)
        abort();
    shared = at;
    state = strtoull(seed ? seed : "1", NULL, 10) * 0x9E3779B97F4A7C15u + 1;
    for (const char *c = name; *c; c++)
        state = state * 1099511628211u + (unsigned char)*c;
    state += __atomic_add_fetch(&shared->started, 1, __ATOMIC_RELAXED) * 0xD1342543DE82EF95u;
    state |= 1;
    if (getenv("BADWORKER_ONLY"))
        sscanf(getenv("BADWORKER_ONLY"), "%d:%d", &only, &only_type);
    forbidden = port && strcmp(name, "three") == 0 ? (uint16_t)atoi(port) : 0;
    for (int i = 0; i < 8; i++)
        draw(2);
}

ssize_t send(int fd, const void *data, size_t n, int flags)
{
    static bool told; /* its process id, the nursery's socket still being in the hub's place */
    const unsigned char *p = data, *e = p + n;
    if (fd == HUB && nursery && nursery != getpid()) {
        if (told) {
            nursery = 0;
            begin();
        }
        told = true;
    }
    if (fd != HUB || !shared)
        return give(fd, data, n, flags);
    out_len = 0;
    while ((size_t)(e - p) >= HEADER && (size_t)get(p) + 4 <= (size_t)(e - p)) {
        spoil(p, (size_t)get(p) + 4);
        p += (size_t)get(p) + 4;
    }
    append(p, (size_t)(e - p));
    if (forbidden && draw(2) == 0)
        ask_for_more();
    for (size_t at = 0; at < out_len;) {
        ssize_t done = give(fd, out + at, out_len - at, MSG_NOSIGNAL);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return -1;
        at += (size_t)done;
    }
    return (ssize_t)n;
}

__attribute__((constructor)) static void load(int argc, char **argv, char **env)
{
    (void)env;
    if (argc < 2 || strcmp(argv[1], "nursery") != 0)
        return;
    title = argv[0];
    nursery = getpid();
}
