/* slow_sync: makes every sync call of a program slower, to stand in for a slower disk.
 *
 * Rule: the real call is made as well, so what was durable stays durable. A program that syncs through
 * system calls of its own instead of the C library is not slowed; the report says so when it happens.
 *
 *   cc -shared -fPIC -O2 -o slow_sync.so slow_sync.c -ldl
 *   LD_PRELOAD=./slow_sync.so SLOW_SYNC_US=5000 program
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

static void wait_for_the_disk(void)
{
    static int microseconds = -1;
    if (microseconds < 0) {
        const char *value = getenv("SLOW_SYNC_US");
        microseconds = value ? atoi(value) : 5000;
    }
    usleep(microseconds);
}

/* Each wrapper looks up the call it wraps once, waits, and makes it. */
#define SLOW(result, name, parameters, arguments)         \
    result name parameters                                \
    {                                                     \
        static result (*real) parameters;                 \
        if (!real)                                        \
            real = (result (*) parameters)dlsym(RTLD_NEXT, #name); \
        wait_for_the_disk();                              \
        return real arguments;                            \
    }

SLOW(int, fsync, (int fd), (fd))
SLOW(int, fdatasync, (int fd), (fd))
SLOW(int, syncfs, (int fd), (fd))
SLOW(int, msync, (void *address, size_t length, int flags), (address, length, flags))
SLOW(int, sync_file_range, (int fd, off64_t offset, off64_t bytes, unsigned int flags), (fd, offset, bytes, flags))
