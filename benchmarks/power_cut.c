/* Preloaded into a process: writes down what it has synced, "path length" a line, so that a power cut can be played afterwards.
   What was not synced is what a machine without power may lose; a killed process alone loses nothing, for the kernel keeps its pages. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static void note(int fd, long long synced) {
  const char *file = getenv("POWER_CUT_LOG");
  char name[64], path[PATH_MAX], line[PATH_MAX + 32];
  if (!file) return;
  snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
  ssize_t length = readlink(name, path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = 0;
  int log = open(file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (log < 0) return;
  int size = snprintf(line, sizeof line, "%s %lld\n", path, synced);
  if (write(log, line, size) != size) abort();
  close(log);
}

#define SYNC(name)                                                     \
  int name(int fd) {                                                   \
    static int (*real)(int);                                           \
    struct stat before; /* what is written while we sync is not meant */ \
    if (!real) real = (int (*)(int))dlsym(RTLD_NEXT, #name);           \
    int known = !fstat(fd, &before);                                   \
    int done = real(fd);                                               \
    if (!done && known) note(fd, (long long)before.st_size);           \
    return done;                                                       \
  }

SYNC(fsync)
SYNC(fdatasync)
