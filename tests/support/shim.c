/*
 * Faults that a machine has and a test can't ask for: loaded into every process of a cluster by
 * LD_PRELOAD, it does nothing until the test writes what it should do into a file that all of them map.
 *
 * The file, which SEGSH_SHIM names, holds lines, and ends with the first zero byte:
 *
 *     eio PATH          reads, writes, truncations and syncs beneath PATH fail with EIO
 *     enospc PATH       writes and truncations beneath PATH fail with ENOSPC
 *     noroom PATH       writes beneath PATH that need a block which the file does not have fail with ENOSPC
 *     erofs PATH        writes, truncations, and opening for writing beneath PATH fail with EROFS
 *     hang PATH         reads, writes, truncations and syncs beneath PATH wait until the line is gone
 *     clock PID SECONDS the calendar of process PID, or of all when PID is 0, is shifted
 *     to A:P B:Q        connections to address A, port P, go to address B, port Q
 *
 * Paths are absolute. The monotonic clock is nobody's calendar and is never shifted.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <netinet/in.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

#define TABLE_BYTES 8192

static const char *table = "";

#define REAL(function)                                                                                       \
    static __typeof__(&function) real;                                                                       \
    if (!real) real = (__typeof__(&function))dlsym(RTLD_NEXT, #function)

__attribute__((constructor)) static void map_table(void)
{
    const char *name = getenv("SEGSH_SHIM");
    if (!name) return;
    int fd = open(name, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return;
    void *map = mmap(NULL, TABLE_BYTES, PROT_READ, MAP_SHARED, fd, 0);
    if (map != MAP_FAILED) table = map;
    close(fd);
}

/* A copy: the test may write another table while this one is read. */
static int read_table(char *copy)
{
    if (!*(const volatile char *)table) return 0;
    size_t length = strnlen(table, TABLE_BYTES - 1);
    memcpy(copy, table, length);
    copy[length] = 0;
    return 1;
}

static int beneath(const char *path, const char *dir)
{
    size_t length = strlen(dir);
    return strncmp(path, dir, length) == 0 && (path[length] == '/' || path[length] == 0);
}

/* Whether the table has a line with this verb for a path. */
static int has(const char *verb, const char *path)
{
    char copy[TABLE_BYTES];
    if (!read_table(copy)) return 0;
    for (char *rest = copy, *line; (line = strsep(&rest, "\n"));) {
        char *argument = strchr(line, ' ');
        if (!argument) continue;
        *argument++ = 0;
        if (strcmp(line, verb) == 0 && beneath(path, argument)) return 1;
    }
    return 0;
}

static void wait_while_hung(const char *path)
{
    struct timespec pause = {0, 5000000};
    while (has("hang", path)) nanosleep(&pause, NULL);
}

static int fd_path(int fd, char *path)
{
    char link[64];
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, PATH_MAX - 1);
    if (length <= 0 || path[0] != '/') return 0;
    path[length] = 0;
    return 1;
}

enum kind { READING, WRITING, SYNCING };

/* The errno that an I/O on a descriptor has to fail with, after any waiting; 0 when it may go on. */
static int fault(int fd, enum kind kind)
{
    char path[PATH_MAX];
    if (!*(const volatile char *)table) return 0;
    int saved = errno;
    int found = 0;
    if (fd_path(fd, path)) {
        wait_while_hung(path);
        if (has("eio", path)) found = EIO;
        else if (kind == WRITING && has("enospc", path)) found = ENOSPC;
        else if (kind == WRITING && has("erofs", path)) found = EROFS;
    }
    errno = saved;
    return found;
}

/* Whether a write needs blocks that the file does not have, where a disk is full in earnest. Our files have
 * no holes: what is allocated is what lies before. */
static int lacks_room(int fd, off64_t at, size_t n)
{
    char path[PATH_MAX];
    struct stat file;
    if (!*(const volatile char *)table) return 0;
    int saved = errno;
    int lacks = 0;
    if (fd_path(fd, path) && has("noroom", path) && fstat(fd, &file) == 0 && S_ISREG(file.st_mode)) {
        if (at < 0) at = (fcntl(fd, F_GETFL) & O_APPEND) ? file.st_size : lseek64(fd, 0, SEEK_CUR);
        lacks = at + (off64_t)n > (off64_t)file.st_blocks * 512;
    }
    errno = saved;
    return lacks;
}

#define FAIL_IF_NO_ROOM(fd, at, n)                                                                           \
    do {                                                                                                     \
        if (lacks_room(fd, at, n)) {                                                                         \
            errno = ENOSPC;                                                                                  \
            return -1;                                                                                       \
        }                                                                                                    \
    } while (0)

#define FAIL_IF_FAULTY(fd, kind)                                                                             \
    do {                                                                                                     \
        int found_ = fault(fd, kind);                                                                        \
        if (found_) {                                                                                        \
            errno = found_;                                                                                  \
            return -1;                                                                                       \
        }                                                                                                    \
    } while (0)

ssize_t pread(int fd, void *buf, size_t n, off_t at)
{
    REAL(pread);
    FAIL_IF_FAULTY(fd, READING);
    return real(fd, buf, n, at);
}

ssize_t pread64(int fd, void *buf, size_t n, off64_t at)
{
    REAL(pread64);
    FAIL_IF_FAULTY(fd, READING);
    return real(fd, buf, n, at);
}

ssize_t pwrite(int fd, const void *buf, size_t n, off_t at)
{
    REAL(pwrite);
    FAIL_IF_FAULTY(fd, WRITING);
    FAIL_IF_NO_ROOM(fd, at, n);
    return real(fd, buf, n, at);
}

ssize_t pwrite64(int fd, const void *buf, size_t n, off64_t at)
{
    REAL(pwrite64);
    FAIL_IF_FAULTY(fd, WRITING);
    FAIL_IF_NO_ROOM(fd, at, n);
    return real(fd, buf, n, at);
}

ssize_t write(int fd, const void *buf, size_t n)
{
    REAL(write);
    FAIL_IF_FAULTY(fd, WRITING);
    FAIL_IF_NO_ROOM(fd, -1, n);
    return real(fd, buf, n);
}

ssize_t pwritev(int fd, const struct iovec *parts, int count, off_t at)
{
    REAL(pwritev);
    FAIL_IF_FAULTY(fd, WRITING);
    return real(fd, parts, count, at);
}

int ftruncate(int fd, off_t length)
{
    REAL(ftruncate);
    FAIL_IF_FAULTY(fd, WRITING);
    return real(fd, length);
}

int ftruncate64(int fd, off64_t length)
{
    REAL(ftruncate64);
    FAIL_IF_FAULTY(fd, WRITING);
    return real(fd, length);
}

int fsync(int fd)
{
    REAL(fsync);
    FAIL_IF_FAULTY(fd, SYNCING);
    return real(fd);
}

int fdatasync(int fd)
{
    REAL(fdatasync);
    FAIL_IF_FAULTY(fd, SYNCING);
    return real(fd);
}

/* The errno that a change of a name has to fail with; a relative path is one of the working directory. */
static int name_fault(const char *name)
{
    char path[PATH_MAX], here[PATH_MAX];
    if (!*(const volatile char *)table || !name) return 0;
    int saved = errno;
    if (name[0] == '/') snprintf(path, sizeof path, "%s", name);
    else if (getcwd(here, sizeof here)) snprintf(path, sizeof path, "%.2000s/%.2000s", here, name);
    else return 0;
    int found = has("eio", path) ? EIO : has("erofs", path) ? EROFS : 0;
    errno = saved;
    return found;
}

static int open_fault(const char *name, int flags)
{
    return (flags & (O_WRONLY | O_RDWR | O_CREAT)) ? name_fault(name) : 0;
}

#define OPEN(function, prototype, call)                                                                      \
    int function prototype                                                                                   \
    {                                                                                                        \
        REAL(function);                                                                                      \
        mode_t mode = 0;                                                                                     \
        if (flags & (O_CREAT | O_TMPFILE)) {                                                                 \
            va_list more;                                                                                    \
            va_start(more, flags);                                                                           \
            mode = va_arg(more, mode_t);                                                                     \
            va_end(more);                                                                                    \
        }                                                                                                    \
        int found = open_fault(name, flags);                                                                 \
        if (found) {                                                                                         \
            errno = found;                                                                                   \
            return -1;                                                                                       \
        }                                                                                                    \
        return real call;                                                                                    \
    }

OPEN(open, (const char *name, int flags, ...), (name, flags, mode))
OPEN(open64, (const char *name, int flags, ...), (name, flags, mode))

int rename(const char *from, const char *to)
{
    REAL(rename);
    int found = name_fault(to);
    if (found) {
        errno = found;
        return -1;
    }
    return real(from, to);
}

static long shift(void)
{
    char copy[TABLE_BYTES];
    if (!read_table(copy)) return 0;
    for (char *rest = copy, *line; (line = strsep(&rest, "\n"));) {
        int pid;
        long seconds;
        if (sscanf(line, "clock %d %ld", &pid, &seconds) == 2 && (pid == 0 || pid == getpid())) return seconds;
    }
    return 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    REAL(clock_gettime);
    int result = real(clock, now);
    if (result == 0 && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE)) now->tv_sec += shift();
    return result;
}

int gettimeofday(struct timeval *restrict now, void *restrict zone)
{
    REAL(gettimeofday);
    int result = real(now, zone);
    if (result == 0) now->tv_sec += shift();
    return result;
}

time_t time(time_t *out)
{
    REAL(time);
    time_t now = real(NULL) + shift();
    if (out) *out = now;
    return now;
}

int connect(int fd, const struct sockaddr *to, socklen_t length)
{
    REAL(connect);
    char copy[TABLE_BYTES];
    if (to->sa_family != AF_INET || length < sizeof(struct sockaddr_in) || !read_table(copy))
        return real(fd, to, length);
    const struct sockaddr_in *wanted = (const struct sockaddr_in *)to;
    for (char *rest = copy, *line; (line = strsep(&rest, "\n"));) {
        char from[32], other[32];
        unsigned from_port, other_port;
        if (sscanf(line, "to %31[0-9.]:%u %31[0-9.]:%u", from, &from_port, other, &other_port) != 4) continue;
        if (inet_addr(from) != wanted->sin_addr.s_addr || htons(from_port) != wanted->sin_port) continue;
        struct sockaddr_in moved = *wanted;
        moved.sin_addr.s_addr = inet_addr(other);
        moved.sin_port = htons(other_port);
        return real(fd, (struct sockaddr *)&moved, sizeof moved);
    }
    return real(fd, to, length);
}
