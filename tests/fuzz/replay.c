/* Feeds files, and every file of the folders named, to a fuzz target: the same checks as under
 * libFuzzer, for compilers without it and for `make test`. Prints how many inputs it ran. */
#include <dirent.h>
#include <sys/stat.h>

#include "fuzz.h"

static unsigned ran;

static void run_file(const char *path)
{
    FILE *f = fopen(path, "rb");
    CHECK(f);
    CHECK(fseek(f, 0, SEEK_END) == 0);
    long size = ftell(f);
    CHECK(size >= 0);
    rewind(f);
    uint8_t *data = malloc(size ? (size_t)size : 1);
    CHECK(data && fread(data, 1, (size_t)size, f) == (size_t)size);
    fclose(f);
    fprintf(stderr, "%s\n", path); /* the last line names the culprit when a check fails */
    LLVMFuzzerTestOneInput(data, (size_t)size);
    free(data);
    ran++;
}

static void run(const char *path)
{
    struct stat st;
    if (stat(path, &st) != 0) {
        perror(path);
        exit(2);
    }
    if (!S_ISDIR(st.st_mode)) {
        run_file(path);
        return;
    }
    DIR *d = opendir(path);
    CHECK(d);
    for (struct dirent *e; (e = readdir(d));) {
        char full[4096];
        if (e->d_name[0] == '.')
            continue;
        CHECK(snprintf(full, sizeof full, "%s/%s", path, e->d_name) < (int)sizeof full);
        run(full);
    }
    closedir(d);
}

int main(int argc, char **argv)
{
    for (int i = 1; i < argc; i++)
        run(argv[i]);
    printf("%u inputs\n", ran);
    return 0;
}
