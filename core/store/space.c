/* Room: on the disk and in the map. Appends stop while there is still enough left for results and
 * outcomes, so that queues can drain. Free pages within the file count as room on the disk: what
 * retention frees is used again and never given back to the file system. */
#include <errno.h>
#include <stdio.h>
#include <sys/statvfs.h>

#include "store/engine.h"

enum { MIB = 1 << 20 };

static uint64_t reserve_of(const struct ln_committer *c, uint64_t disk)
{
    uint64_t r = disk / 100;
    if (c->reserve)
        return c->reserve;
    return r < MIB ? MIB : r > 256 * (uint64_t)MIB ? 256 * (uint64_t)MIB : r;
}

static unsigned long long in_mib_up(uint64_t bytes)
{
    return (bytes + MIB - 1) / MIB;
}

static const char keep_less[] = "keep less (retention in lunate.lua, lunate reload)";

bool ln_space_low(struct ln_committer *c, char *why, size_t cap)
{
    struct statvfs v;
    MDB_envinfo info;
    MDB_stat st;
    uint64_t used, freed;
    if (!c->env->mdb || mdb_env_info(c->env->mdb, &info) || mdb_env_stat(c->env->mdb, &st))
        return false; /* the commit will fail and say why */
    if (statvfs(c->env->path, &v))
        return false;
    uint64_t disk = (uint64_t)v.f_blocks * v.f_frsize, room = (uint64_t)v.f_bavail * v.f_frsize;
    uint64_t reserve = reserve_of(c, disk), map = info.me_mapsize;
    uint64_t map_reserve = reserve < map / 16 ? reserve : map / 16;
    c->look_every = map_reserve / 4;
    uint64_t map_room = map - (info.me_last_pgno + 1) * (uint64_t)st.ms_psize;
    if (map_room > map)
        map_room = 0;
    if (room >= reserve && map_room >= map_reserve)
        return false;
    /* The list of free pages is read only when it decides. */
    if (ln_env_pages(c->env, &used, &freed, true) == LN_OK) {
        room += freed * st.ms_psize;
        map_room += freed * st.ms_psize;
    }
    if (room < reserve)
        snprintf(why, cap,
                 "%llu MiB left on the disk of %.200s, %llu MiB are kept in reserve: free %llu MiB "
                 "there, or %s",
                 (unsigned long long)(room / MIB), c->env->path,
                 (unsigned long long)(reserve / MIB), in_mib_up(reserve - room), keep_less);
    else if (map_room < map_reserve)
        snprintf(why, cap,
                 "the store has reached its largest size of %llu MiB (the address space that the "
                 "engine may have: ulimit -v, LimitAS=): %s",
                 (unsigned long long)(map / MIB), keep_less);
    else
        return false;
    return true;
}

bool ln_space_gone(const struct ln_committer *c)
{
    struct statvfs v;
    return statvfs(c->env->path, &v) == 0 && (uint64_t)v.f_bavail * v.f_frsize < 256 * 1024;
}
