// Preloaded into one process: a call that changes files below a folder fails, by its number, as a bad disk would do it.
//   FAIL_BELOW    the folder            FAIL_ERRNO  with what         FAIL_FROM    the first call that fails, from 1
//   FAIL_CALLS    how many fail         FAIL_COUNT  where the number of calls is written when the process ends
// What the process starts is left alone.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char below[4096];
static long from, calls;
static int with;
static char count_to[4096];
static atomic_long seen;
static pid_t self;

__attribute__((constructor)) static void begin(void) {
    const char *folder = getenv("FAIL_BELOW");
    if (folder) snprintf(below, sizeof below, "%s", folder);
    if (getenv("FAIL_COUNT")) snprintf(count_to, sizeof count_to, "%s", getenv("FAIL_COUNT"));
    from = getenv("FAIL_FROM") ? atol(getenv("FAIL_FROM")) : 0;
    calls = getenv("FAIL_CALLS") ? atol(getenv("FAIL_CALLS")) : 1;
    with = getenv("FAIL_ERRNO") ? atoi(getenv("FAIL_ERRNO")) : EIO;
    self = getpid();
    unsetenv("LD_PRELOAD");
}

__attribute__((destructor)) static void end(void) {
    FILE *file = *count_to && getpid() == self ? fopen(count_to, "w") : NULL;
    if (file) {
        fprintf(file, "%ld\n", atomic_load(&seen));
        fclose(file);
    }
}

static int fails_at(const char *path) {
    size_t length = strlen(below);
    if (!length || getpid() != self || strncmp(path, below, length) || (path[length] && path[length] != '/')) return 0;
    long number = atomic_fetch_add(&seen, 1) + 1;
    if (!from || number < from || number >= from + calls) return 0;
    errno = with;
    return 1;
}

static int fails(int folder, const char *path) {
    char whole[8192], start[4096] = "";
    int kept = errno;
    if (path && *path != '/') {
        if (folder == AT_FDCWD) {
            if (!getcwd(start, sizeof start)) *start = 0;
        } else {
            char link[64];
            snprintf(link, sizeof link, "/proc/self/fd/%d", folder);
            ssize_t size = readlink(link, start, sizeof start - 1);
            start[size > 0 ? size : 0] = 0;
        }
    }
    snprintf(whole, sizeof whole, "%s%s%s", start, *start && path && *path ? "/" : "", path ? path : "");
    errno = kept;
    return fails_at(whole);
}

#define FD(descriptor) fails(descriptor, "")
#define REAL(name) __typeof__(name) *real = (__typeof__(name) *)dlsym(RTLD_NEXT, #name)
#define CHANGES (O_WRONLY | O_RDWR | O_CREAT | O_TRUNC | O_APPEND)

#define OPEN(name)                                                          \
    int name(const char *path, int flags, ...) {                            \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, int); va_end(more); \
        REAL(name);                        \
        return (flags & CHANGES) && fails(AT_FDCWD, path) ? -1 : real(path, flags, mode); \
    }
#define OPENAT(name)                                                        \
    int name(int at, const char *path, int flags, ...) {                    \
        va_list more; va_start(more, flags); mode_t mode = va_arg(more, int); va_end(more); \
        REAL(name);                   \
        return (flags & CHANGES) && fails(at, path) ? -1 : real(at, path, flags, mode); \
    }
OPEN(open) OPEN(open64) OPENAT(openat) OPENAT(openat64)

ssize_t write(int fd, const void *data, size_t size) {
    REAL(write);
    return fd > 2 && FD(fd) ? -1 : real(fd, data, size);
}
ssize_t sendfile64(int out, int in, off64_t *offset, size_t size) {
    REAL(sendfile64);
    return FD(out) ? -1 : real(out, in, offset, size);
}
ssize_t sendfile(int out, int in, off_t *offset, size_t size) {
    REAL(sendfile);
    return FD(out) ? -1 : real(out, in, offset, size);
}
int fsync(int fd) { REAL(fsync); return FD(fd) ? -1 : real(fd); }
int rename(const char *old, const char *new) {
    REAL(rename);
    return fails(AT_FDCWD, new) ? -1 : real(old, new);
}
int renameat(int from_at, const char *old, int at, const char *new) {
    REAL(renameat);
    return fails(at, new) ? -1 : real(from_at, old, at, new);
}
int mkdir(const char *path, mode_t mode) {
    REAL(mkdir);
    return fails(AT_FDCWD, path) ? -1 : real(path, mode);
}
int symlink(const char *target, const char *path) {
    REAL(symlink);
    return fails(AT_FDCWD, path) ? -1 : real(target, path);
}
int chmod(const char *path, mode_t mode) {
    REAL(chmod);
    return fails(AT_FDCWD, path) ? -1 : real(path, mode);
}
int fchmod(int fd, mode_t mode) {
    REAL(fchmod);
    return FD(fd) ? -1 : real(fd, mode);
}
int unlink(const char *path) {
    REAL(unlink);
    return with != ENOSPC && fails(AT_FDCWD, path) ? -1 : real(path);
}
int unlinkat(int at, const char *path, int flags) {
    REAL(unlinkat);
    return with != ENOSPC && fails(at, path) ? -1 : real(at, path, flags);
}
