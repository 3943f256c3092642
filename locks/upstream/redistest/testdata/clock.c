// A clock that a test sets: preloaded into redis-server, it takes two numbers
// (int64, microseconds) from the file $CANDADO_TEST_CLOCK. The wall clock shows
// the second one, and stands still, if that is not 0; else it shows the real time
// plus the first one. The monotonic clock is left alone.
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static volatile int64_t *set; // [0] offset, [1] frozen

__attribute__((constructor)) static void map_clock(void) {
    const char *path = getenv("CANDADO_TEST_CLOCK");
    int fd = path ? open(path, O_RDONLY) : -1;
    if (fd < 0) return;
    void *p = mmap(NULL, 2 * sizeof(int64_t), PROT_READ, MAP_SHARED, fd, 0);
    close(fd);
    if (p != MAP_FAILED) set = p;
}

static int64_t micros(void) {
    if (set && set[1]) return set[1];
    struct timespec ts;
    syscall(SYS_clock_gettime, CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000 + ts.tv_nsec / 1000 + (set ? set[0] : 0);
}

int gettimeofday(struct timeval *restrict tv, void *restrict tz) {
    (void)tz;
    int64_t us = micros();
    tv->tv_sec = us / 1000000;
    tv->tv_usec = us % 1000000;
    return 0;
}

int clock_gettime(clockid_t id, struct timespec *ts) {
    if (id != CLOCK_REALTIME) return syscall(SYS_clock_gettime, id, ts);
    int64_t us = micros();
    ts->tv_sec = us / 1000000;
    ts->tv_nsec = us % 1000000 * 1000;
    return 0;
}

time_t time(time_t *out) {
    time_t s = micros() / 1000000;
    if (out) *out = s;
    return s;
}
