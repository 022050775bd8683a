/* count_allocations: counts the calls by which a program asks for memory, for the rows "allocations a message".
 *
 * The count is the first eight octets of the file ALLOCATIONS_FILE, in the machine's own order, while the
 * program runs:
 *
 *   cc -shared -fPIC -O2 -o count_allocations.so count_allocations.c -ldl
 *   LD_PRELOAD=./count_allocations.so ALLOCATIONS_FILE=count program & od -A n -t u8 -N 8 count
 *
 * The functions of the C library are called by their own names behind the wrappers, because looking one up
 * would itself ask for memory.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <unistd.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static uint64_t unshared;
static uint64_t *count = &unshared;

__attribute__((constructor)) static void open_the_count(void)
{
    const char *name = getenv("ALLOCATIONS_FILE");
    int file = name ? open(name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600) : -1;
    if (file < 0)
        return;
    if (ftruncate(file, sizeof *count) == 0) {
        void *page = mmap(NULL, sizeof *count, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
        if (page != MAP_FAILED)
            count = page;
    }
    close(file);
}

static void one_more(void) { __atomic_fetch_add(count, 1, __ATOMIC_RELAXED); }

void *malloc(size_t size)
{
    one_more();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size)
{
    one_more();
    return __libc_calloc(number, size);
}

void *realloc(void *block, size_t size)
{
    one_more();
    return __libc_realloc(block, size);
}

void *aligned_alloc(size_t alignment, size_t size)
{
    one_more();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size)
{
    one_more();
    *block = __libc_memalign(alignment, size);
    return *block ? 0 : ENOMEM;
}
