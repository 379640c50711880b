/* lunate.archive_core: what lua/archive needs of zstd, of sealing and of the file system. */
#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <lua.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "base/buf.h"
#include "base/crc.h"
#include "crypt/aead.h"
#include "crypt/sealed.h"
#include "role/cli.h"
#include "store/store.h"

enum { LEVEL = 6, FRAME_MAX = 512 << 20 };

static int failed(lua_State *L, const char *why)
{
    lua_pushnil(L);
    lua_pushstring(L, why);
    return 2;
}

/* Hands b's bytes to Lua and frees them. */
static int give(lua_State *L, struct ln_buf *b, size_t len)
{
    lua_pushlstring(L, b->data ? b->data : "", len);
    ln_buf_fini(b);
    return 1;
}

/* compress(text): a zstd frame with its length and a checksum of the content. */
static int compress_text(lua_State *L)
{
    size_t len;
    const char *text = luaL_checklstring(L, 1, &len);
    struct ln_buf b = {0};
    ZSTD_CCtx *z = ZSTD_createCCtx();
    size_t bound = ZSTD_compressBound(len), n = 0;
    bool ok = z && ln_buf_reserve(&b, bound) == LN_OK;
    if (ok) {
        ZSTD_CCtx_setParameter(z, ZSTD_c_compressionLevel, LEVEL);
        ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, 1);
        n = ZSTD_compress2(z, b.data, b.cap, text, len);
        ok = !ZSTD_isError(n);
    }
    ZSTD_freeCCtx(z);
    if (ok)
        return give(L, &b, n);
    ln_buf_fini(&b);
    return failed(L, "out of memory");
}

/* expand(frame): its content; nil, why, also when its checksum is wrong. */
static int expand(lua_State *L)
{
    size_t len;
    const char *frame = luaL_checklstring(L, 1, &len);
    unsigned long long size = ZSTD_getFrameContentSize(frame, len);
    struct ln_buf b = {0};
    if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > FRAME_MAX)
        return failed(L, "not a zstd frame of an archive");
    if (ln_buf_reserve(&b, (size_t)size + 1) != LN_OK)
        return failed(L, "out of memory");
    size_t n = ZSTD_decompress(b.data, b.cap, frame, len);
    if (!ZSTD_isError(n))
        return give(L, &b, n);
    ln_buf_fini(&b);
    return failed(L, ZSTD_getErrorName(n));
}

/* seal(label, text): the text, encrypted under a data key of its own that the site's key wraps
 * (crypt/sealed.h); nil, why. */
static int seal(lua_State *L)
{
    struct ln_span label, text;
    struct ln_keys *keys = ln_store_keys_ref();
    struct ln_sealer *s = NULL;
    struct ln_buf b = {0};
    label.ptr = luaL_checklstring(L, 1, &label.len);
    text.ptr = luaL_checklstring(L, 2, &text.len);
    if (!keys)
        return failed(L, "there is no key to encrypt it with");
    int rc = ln_sealer_new(keys, label, &s, &b);
    if (rc == LN_OK)
        rc = ln_sealer_add(s, text, true, &b);
    ln_sealer_free(s);
    ln_keys_unref(keys);
    if (rc == LN_OK)
        return give(L, &b, b.len);
    ln_buf_fini(&b);
    return failed(L, ln_strerror(rc));
}

/* unseal(label, bytes): what was sealed; nil, why. */
static int unseal(lua_State *L)
{
    struct ln_span label, in;
    struct ln_keys *keys = ln_store_keys_ref();
    struct ln_unsealer *u = NULL;
    struct ln_buf b = {0};
    struct ln_err err = {0};
    size_t used = 0;
    label.ptr = luaL_checklstring(L, 1, &label.len);
    in.ptr = luaL_checklstring(L, 2, &in.len);
    size_t head = in.len < LN_SEALED_HEAD ? in.len : LN_SEALED_HEAD;
    if (!keys)
        return failed(L, "it is encrypted, and lunate.lua names no key");
    int rc = ln_unsealer_new(keys, label, ln_span(in.ptr, head), &u, &err);
    in = ln_span(in.ptr + head, in.len - head);
    if (rc == LN_OK)
        rc = ln_unsealer_add(u, in, &used, &b);
    if (rc == LN_OK && (!ln_unsealer_done(u) || used != in.len))
        rc = LN_EPARSE;
    ln_unsealer_free(u);
    ln_keys_unref(keys);
    if (rc == LN_OK)
        return give(L, &b, b.len);
    ln_buf_fini(&b);
    return failed(L, err.text[0]       ? err.text
                     : rc == LN_EPARSE ? "it was changed, or is damaged"
                                       : ln_strerror(rc));
}

/* key_of(bytes): the id of the key that a sealed text was sealed with; nil: it is none. */
static int key_of(lua_State *L)
{
    char id[LN_KEYS_ID_TEXT];
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    if (len < LN_SEALED_HEAD || memcmp(s, LN_SEALED_MAGIC, 8) != 0)
        return 0;
    ln_keys_wrapped_id(ln_span(s + 8, LN_WRAPPED), id);
    lua_pushstring(L, id);
    return 1;
}

/* bytes(base64): what it stands for. */
static int bytes_of(lua_State *L)
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    luaL_Buffer b;
    unsigned v = 0, bits = 0;
    luaL_buffinit(L, &b);
    for (size_t i = 0; i < len; i++) {
        unsigned char ch = (unsigned char)s[i];
        int d = ch >= 'A' && ch <= 'Z'   ? ch - 'A'
                : ch >= 'a' && ch <= 'z' ? ch - 'a' + 26
                : ch >= '0' && ch <= '9' ? ch - '0' + 52
                : ch == '+'              ? 62
                : ch == '/'              ? 63
                                         : -1;
        if (d < 0)
            continue;
        v = v << 6 | (unsigned)d;
        if ((bits += 6) >= 8)
            luaL_addchar(&b, (char)(v >> (bits -= 8)));
    }
    luaL_pushresult(&b);
    return 1;
}

/* crc(bytes): CRC-32C as a number. */
static int crc(lua_State *L)
{
    size_t len;
    const char *s = luaL_checklstring(L, 1, &len);
    lua_pushnumber(L, ln_crc32c(s, len));
    return 1;
}

/* hash(bytes [, more]): SHA-256 over both, in hex. */
static int hash(lua_State *L)
{
    struct ln_span part[2];
    unsigned char sum[LN_SHA256_LEN];
    char text[2 * LN_SHA256_LEN + 1];
    int n = lua_gettop(L) < 2 ? lua_gettop(L) : 2;
    for (int i = 0; i < n; i++)
        part[i].ptr = luaL_checklstring(L, i + 1, &part[i].len);
    if (ln_sha256(part, (size_t)n, sum) != LN_OK)
        return failed(L, "out of memory");
    for (unsigned i = 0; i < LN_SHA256_LEN; i++)
        snprintf(text + 2 * i, 3, "%02x", sum[i]);
    lua_pushstring(L, text);
    return 1;
}

static int sync_folder_of(lua_State *L, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *folder =
        slash ? (lua_pushlstring(L, path, (size_t)(slash - path) + 1), lua_tostring(L, -1)) : ".";
    int dir = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int rc = dir < 0 || fsync(dir) != 0 ? -1 : 0, e = errno;
    if (dir >= 0)
        close(dir);
    errno = e;
    return rc;
}

/* append(path, bytes): synced when it returns; the file's new length. On failure the file is as it
 * was (nil, why). */
static int append(lua_State *L)
{
    size_t len, done = 0;
    struct stat st;
    const char *path = luaL_checkstring(L, 1), *bytes = luaL_checklstring(L, 2, &len);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0 || fstat(fd, &st) != 0) {
        int e = errno;
        if (fd >= 0)
            close(fd);
        return failed(L, strerror(e));
    }
    while (done < len) {
        ssize_t n = write(fd, bytes + done, len - done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    int e = done < len ? errno : 0;
    if (e == 0 && (fdatasync(fd) != 0 || (st.st_size == 0 && sync_folder_of(L, path) != 0)))
        e = errno;
    if (e != 0 && ftruncate(fd, st.st_size) != 0)
        e = errno;
    close(fd);
    if (e != 0)
        return failed(L, strerror(e));
    lua_pushnumber(L, (lua_Number)st.st_size + (lua_Number)len);
    return 1;
}

/* read(path, offset, length): up to so many bytes; nil, why. */
static int read_at(lua_State *L)
{
    const char *path = luaL_checkstring(L, 1);
    off_t at = (off_t)luaL_checknumber(L, 2);
    size_t len = (size_t)luaL_checknumber(L, 3), done = 0;
    struct ln_buf b = {0};
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || len > FRAME_MAX || ln_buf_reserve(&b, len + 1) != LN_OK) {
        int e = fd < 0 ? errno : ENOMEM;
        if (fd >= 0)
            close(fd);
        return failed(L, strerror(e));
    }
    while (done < len) {
        ssize_t n = pread(fd, b.data + done, len - done, at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            break;
        done += (size_t)n;
    }
    close(fd);
    return give(L, &b, done);
}

/* replace(from, to): the file has the other's name, durably: true; nil, why. */
static int replace(lua_State *L)
{
    const char *from = luaL_checkstring(L, 1), *to = luaL_checkstring(L, 2);
    if (rename(from, to) != 0 || sync_folder_of(L, to) != 0)
        return failed(L, strerror(errno));
    lua_pushboolean(L, 1);
    return 1;
}

/* size(path): bytes; nil, why. */
static int size_of(lua_State *L)
{
    struct stat st;
    if (stat(luaL_checkstring(L, 1), &st) != 0)
        return failed(L, strerror(errno));
    lua_pushnumber(L, (lua_Number)st.st_size);
    return 1;
}

/* cut(path, length): the file ends there; true; nil, why. */
static int cut(lua_State *L)
{
    int fd = open(luaL_checkstring(L, 1), O_WRONLY | O_CLOEXEC | O_NOFOLLOW);
    int rc = fd < 0 || ftruncate(fd, (off_t)luaL_checknumber(L, 2)) != 0 || fsync(fd) != 0,
        e = errno;
    if (fd >= 0)
        close(fd);
    if (rc)
        return failed(L, strerror(e));
    lua_pushboolean(L, 1);
    return 1;
}

int ln_cli_archive_open(lua_State *L)
{
    static const luaL_Reg functions[] = {
        {"compress", compress_text}, {"expand", expand}, {"crc", crc},       {"hash", hash},
        {"append", append},          {"read", read_at},  {"size", size_of},  {"cut", cut},
        {"bytes", bytes_of},         {"seal", seal},     {"unseal", unseal}, {"key_of", key_of},
        {"replace", replace},        {NULL, NULL}};
    lua_newtable(L);
    luaL_register(L, NULL, functions);
    return 1;
}
