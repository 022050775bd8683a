/* A wall clock that is wrong: to every reading of it are added the seconds that stand in the file WALL_CLOCK.
 * The boot clock stays as it is, so a change of the file is a step of the wall clock. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time)
{
    static int (*real)(clockid_t, struct timespec *);
    if (!real)
        real = (int (*)(clockid_t, struct timespec *))dlsym(RTLD_NEXT, "clock_gettime");
    int answer = real(clock, time);
    const char *path = getenv("WALL_CLOCK");
    if (answer || clock != CLOCK_REALTIME || !path)
        return answer;
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file >= 0) {
        char text[32] = {0};
        if (read(file, text, sizeof text - 1) > 0)
            time->tv_sec += atoll(text);
        close(file);
    }
    return 0;
}
