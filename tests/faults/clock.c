/* SPDX-License-Identifier: Apache-2.0
 *
 * Preloaded into a process: its wall clock shows more than the real one, by the seconds
 * that the file named by JUMPING_CLOCK holds at that moment. The monotonic clock, and
 * with it every sleep and timeout, is the real one, as when a host's clock is set.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static const volatile int64_t *offset;

__attribute__((constructor)) static void open_clock(void) {
    const char *path = getenv("JUMPING_CLOCK");
    int file = path ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (file < 0)
        return;
    void *page = mmap(NULL, sizeof *offset, PROT_READ, MAP_SHARED, file, 0);
    if (page != MAP_FAILED)
        offset = page;
    close(file);
}

static int64_t shift(void) { return offset ? *offset : 0; }

#define REAL(name, ...)                                        \
    static int (*real)(__VA_ARGS__);                           \
    if (!real)                                                 \
        real = (int (*)(__VA_ARGS__))dlsym(RTLD_NEXT, name)

int clock_gettime(clockid_t clock, struct timespec *at) {
    REAL("clock_gettime", clockid_t, struct timespec *);
    int failed = real(clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += shift();
    return failed;
}

int gettimeofday(struct timeval *at, void *zone) {
    struct timespec now;
    (void)zone;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}

time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at)
        *at = now.tv_sec;
    return now.tv_sec;
}

/* The kernel compares with its own clock. */
int sem_timedwait(sem_t *semaphore, const struct timespec *until) {
    REAL("sem_timedwait", sem_t *, const struct timespec *);
    struct timespec at = *until;
    at.tv_sec -= shift();
    return real(semaphore, &at);
}
