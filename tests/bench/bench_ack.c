/* bench_ack PORT: an MLLP server that does nothing but acknowledge. Nothing can be faster here. */
#include "server.h"

static void on_frame(struct conn *c, const char *data, size_t len)
{
    char ack[ACK_MAX];
    conn_say(c, ack, make_ack(data, len, ack));
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: bench_ack PORT\n");
        return 2;
    }
    serve_on(atoi(argv[1]));
    serve(-1, NULL);
}
