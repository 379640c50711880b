/* bench_sync DIR [COUNT]: how long one fdatasync takes behind an append of 4 KiB to a file in DIR.
 * Prints one JSON document. The unit in which durable latencies are told. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static double now_us(void)
{
    struct timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (double)ts.tv_sec * 1e6 + (double)ts.tv_nsec / 1e3;
}

static int by_value(const void *a, const void *b)
{
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

int main(int argc, char **argv)
{
    char path[4096], block[4096];
    int count = argc > 2 ? atoi(argv[2]) : 500;
    if (argc < 2 || count < 1) {
        fprintf(stderr, "usage: bench_sync DIR [COUNT]\n");
        return 2;
    }
    snprintf(path, sizeof path, "%s/bench_sync.tmp", argv[1]);
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    double *took = calloc((size_t)count, sizeof *took);
    if (fd < 0 || !took) {
        perror(path);
        return 1;
    }
    unlink(path);
    memset(block, 'x', sizeof block);
    for (int i = 0; i < count; i++) {
        double began = now_us();
        if (write(fd, block, sizeof block) != (ssize_t)sizeof block || fdatasync(fd) != 0) {
            perror(path);
            return 1;
        }
        took[i] = now_us() - began;
    }
    close(fd);
    qsort(took, (size_t)count, sizeof *took, by_value);
    printf("{\"count\":%d,\"p50_us\":%.1f,\"p90_us\":%.1f,\"p99_us\":%.1f}\n", count,
           took[count / 2], took[count * 9 / 10], took[count * 99 / 100]);
    free(took);
    return 0;
}
