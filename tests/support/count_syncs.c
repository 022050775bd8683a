/* Writes down every sync that a program asks the C library for: the call, and the last part of the file's path.
 * The real call is made as well. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void note(const char *call, int fd)
{
    char link[64], path[4096], line[4200];
    const char *log = getenv("SYNC_LOG");
    if (!log)
        return;
    snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
    ssize_t length = readlink(link, path, sizeof path - 1);
    path[length > 0 ? length : 0] = 0;
    const char *name = strrchr(path, '/');
    int size = snprintf(line, sizeof line, "%s %s\n", call, name ? name + 1 : path);
    int out = open(log, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (out < 0 || write(out, line, size) != size)
        abort();
    close(out);
}

#define COUNTED(name, parameters, arguments)                                \
    int name parameters                                                     \
    {                                                                       \
        static int (*real) parameters;                                      \
        if (!real)                                                          \
            real = (int (*) parameters)dlsym(RTLD_NEXT, #name);             \
        note(#name, fd);                                                    \
        return real arguments;                                              \
    }

COUNTED(fsync, (int fd), (fd))
COUNTED(fdatasync, (int fd), (fd))
COUNTED(syncfs, (int fd), (fd))
COUNTED(sync_file_range, (int fd, off64_t at, off64_t length, unsigned int flags), (fd, at, length, flags))
