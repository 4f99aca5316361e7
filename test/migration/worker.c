/*
 * The guest's init: it writes, syncs and verifies without pause, and tells about it on the serial console.
 *
 *   GUEST-READY                                   the file of blocks is there (and, after an earlier boot, was found good)
 *   GUEST-FOUND blocks                            an earlier boot's blocks: this many were read and are ones that may be there
 *   GUEST-AT s0 s1 verified files late            steps synced by either writer, blocks and files verified, longest operation in ms
 *   GUEST-FAIL reason                             anything that no disk may do
 *   GUEST-END verified files                      everything was read once more, the file system is read-only and clean
 *
 * Kernel parameters: seed=N, idle=1 (only tell that it lives), boots=A-B,A-B:... one item for each earlier boot and writer: its steps began at A, and B
 * is the last that it told to be synced. A line on the console ("stop") ends it.
 *
 * Two writers, one of single blocks and one of runs, each with an area of its own in one file, O_DIRECT. Step n writes blocks that are a function
 * of seed, writer and n, and each block says which step wrote it: so the content of every block is known while the guest runs, and what may be there
 * after a crash is known from the steps alone. A third thread makes, renames, reads and removes small files through the page cache.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/reboot.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

enum { BLOCK = 4096, AREA_BLOCKS = 1024, WRITERS = 2, RUN_MAX = 16, BOOTS_MAX = 8, FAILURES_MAX = 20, FILE_BYTES = 24576 };
/* Steps of another boot begin this much later: no step number is ever used twice. */
static const uint64_t BOOT_STEPS = 10000000;
static const uint64_t MAGIC = 0x676c756f6e626c6bull;
#define PATH "/data/blocks"

struct header { uint64_t magic, writer, block, step, sum; };

static uint64_t seed;
static atomic_int stopping, failures;
static atomic_ulong verified, files, longest_ms;
static atomic_ulong synced[WRITERS];
static uint64_t first_step[WRITERS];
static uint64_t content[WRITERS][AREA_BLOCKS];
static struct { uint64_t from, to; } boots[WRITERS][BOOTS_MAX];
static int boot_count;
static pthread_mutex_t console = PTHREAD_MUTEX_INITIALIZER;

static void tell(const char *format, ...) {
  char line[256];
  va_list words;
  va_start(words, format);
  int length = vsnprintf(line, sizeof line - 1, format, words);
  va_end(words);
  if (length > (int)sizeof line - 2) length = sizeof line - 2;
  line[length++] = '\n';
  pthread_mutex_lock(&console);
  if (write(1, line, length) < 0) { /* Nobody else to tell. */ }
  pthread_mutex_unlock(&console);
}

static void fail(const char *format, ...) {
  char reason[200];
  va_list words;
  va_start(words, format);
  vsnprintf(reason, sizeof reason, format, words);
  va_end(words);
  if (atomic_fetch_add(&failures, 1) < FAILURES_MAX) tell("GUEST-FAIL %s", reason);
}

static uint64_t mix(uint64_t x) {
  x += 0x9e3779b97f4a7c15ull;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9ull;
  x = (x ^ (x >> 27)) * 0x94d049bb133111ebull;
  return x ^ (x >> 31);
}

static uint64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

static void took(uint64_t begin) {
  uint64_t ms = now_ms() - begin;
  unsigned long most = longest_ms;
  while (ms > most && !atomic_compare_exchange_weak(&longest_ms, &most, ms)) {}
}

/* Which blocks a step writes. */
static void run_of(int writer, uint64_t step, int *at, int *count) {
  uint64_t r = mix(seed ^ ((uint64_t)writer << 60) ^ step);
  *count = writer == 0 ? 1 : 1 + (r >> 40) % RUN_MAX;
  *at = r % (AREA_BLOCKS - *count + 1);
}

static int wrote(int writer, uint64_t step, int block) {
  int at, count;
  run_of(writer, step, &at, &count);
  return block >= at && block < at + count;
}

/* A few words of each block change from step to step, the rest follows from them: an emulated processor is slow. */
static void fill(unsigned char *into, int writer, int block, uint64_t step) {
  uint64_t *words = (uint64_t *)into;
  uint64_t state = mix(step ^ ((uint64_t)block << 32) ^ seed);
  uint64_t sum = 0;
  for (int i = sizeof(struct header) / 8; i < BLOCK / 8; i++) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    words[i] = state;
    sum += state ^ i;
  }
  struct header h = { MAGIC, writer, block, step, sum };
  memcpy(into, &h, sizeof h);
}

/* The step that the block carries; 0 for zeros. Complains of anything else. */
static uint64_t step_in(const unsigned char *data, int writer, int block) {
  static const unsigned char zeros[BLOCK];
  struct header h;
  unsigned char must[BLOCK];
  if (memcmp(data, zeros, BLOCK) == 0) return 0;
  memcpy(&h, data, sizeof h);
  fill(must, writer, block, h.step);
  if (memcmp(data, must, BLOCK) != 0) {
    fail("garbage in block %d of writer %d, which says step %llu", block, writer, (unsigned long long)h.step);
    return UINT64_MAX;
  }
  if (!wrote(writer, h.step, block)) fail("block %d of writer %d holds step %llu, which does not write it", block, writer, (unsigned long long)h.step);
  return h.step;
}

static off_t place(int writer, int block) { return ((off_t)writer * AREA_BLOCKS + block) * BLOCK; }

static void look(int fd, unsigned char *buffer, int writer, int at, int count) {
  uint64_t begin = now_ms();
  ssize_t got = pread(fd, buffer, (size_t)count * BLOCK, place(writer, at));
  took(begin);
  if (got != (ssize_t)count * BLOCK) { fail("read of block %d of writer %d: %zd, %s", at, writer, got, strerror(errno)); return; }
  for (int i = 0; i < count; i++) {
    uint64_t step = step_in(buffer + (size_t)i * BLOCK, writer, at + i);
    if (step != UINT64_MAX && step != content[writer][at + i])
      fail("block %d of writer %d holds step %llu instead of %llu", at + i, writer, (unsigned long long)step, (unsigned long long)content[writer][at + i]);
  }
  atomic_fetch_add(&verified, count);
}

static void *write_blocks(void *argument) {
  int writer = (int)(intptr_t)argument;
  unsigned char *buffer = aligned_alloc(BLOCK, RUN_MAX * BLOCK);
  int fd = open(PATH, O_RDWR | O_DIRECT);
  if (fd < 0) { fail("open: %s", strerror(errno)); return NULL; }
  uint64_t step = first_step[writer];
  for (; !stopping && failures == 0; step++) {
    int at, count;
    run_of(writer, step, &at, &count);
    for (int i = 0; i < count; i++) fill(buffer + (size_t)i * BLOCK, writer, at + i, step);
    uint64_t begin = now_ms();
    ssize_t put = pwrite(fd, buffer, (size_t)count * BLOCK, place(writer, at));
    took(begin);
    if (put != (ssize_t)count * BLOCK) { fail("write of step %llu: %zd, %s", (unsigned long long)step, put, strerror(errno)); break; }
    for (int i = 0; i < count; i++) content[writer][at + i] = step;
    if (step % 4 == 0) {
      begin = now_ms();
      if (fdatasync(fd) != 0) { fail("fdatasync: %s", strerror(errno)); break; }
      took(begin);
      synced[writer] = step;
    }
    uint64_t r = mix(step ^ 0x5555);
    int span = 1 + r % RUN_MAX;
    look(fd, buffer, writer, (r >> 8) % (AREA_BLOCKS - span + 1), span);
  }
  close(fd);
  free(buffer);
  return NULL;
}

/* Small files through the page cache, with the file system's journal behind them. */
static void *write_files(void *argument) {
  static unsigned char data[FILE_BYTES], back[FILE_BYTES];
  (void)argument;
  for (uint64_t n = 1; !stopping && failures == 0; n++) {
    char name[64];
    size_t size = 1 + mix(n) % FILE_BYTES;
    snprintf(name, sizeof name, "/data/file%d", (int)(n % 8));
    for (size_t i = 0; i < size; i += 8) { uint64_t word = mix(n ^ (i << 20)); memcpy(data + i, &word, i + 8 <= size ? 8 : size - i); }
    uint64_t begin = now_ms();
    int fd = open("/data/new", O_RDWR | O_CREAT | O_TRUNC, 0644);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size || fsync(fd) != 0 || rename("/data/new", name) != 0) { fail("file %llu: %s", (unsigned long long)n, strerror(errno)); break; }
    took(begin);
    posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
    if (pread(fd, back, size, 0) != (ssize_t)size || memcmp(data, back, size) != 0) { fail("file %llu has other bytes than were written", (unsigned long long)n); break; }
    close(fd);
    if (n % 16 == 0 && unlink(name) != 0) { fail("unlink: %s", strerror(errno)); break; }
    files++;
    usleep(20000);
  }
  return NULL;
}

/* What an earlier boot left: each block must hold a step at least as new as what was told to be synced. */
static void find(int fd) {
  unsigned char *buffer = aligned_alloc(BLOCK, RUN_MAX * BLOCK);
  static uint64_t least[WRITERS][AREA_BLOCKS];
  for (int writer = 0; writer < WRITERS; writer++)
    for (int boot = 0; boot < boot_count; boot++)
      for (uint64_t step = boots[writer][boot].from; step <= boots[writer][boot].to; step++) {
        int at, count;
        run_of(writer, step, &at, &count);
        for (int i = 0; i < count; i++) least[writer][at + i] = step;
      }
  for (int writer = 0; writer < WRITERS; writer++)
    for (int block = 0; block < AREA_BLOCKS; block++) {
      unsigned char *data = buffer + (size_t)(block % RUN_MAX) * BLOCK;
      if (data == buffer && pread(fd, buffer, RUN_MAX * BLOCK, place(writer, block)) != RUN_MAX * BLOCK) { fail("read of block %d: %s", block, strerror(errno)); return; }
      uint64_t step = step_in(data, writer, block);
      if (step < least[writer][block]) fail("block %d of writer %d is back at step %llu, step %llu was synced", block, writer, (unsigned long long)step, (unsigned long long)least[writer][block]);
      content[writer][block] = step;
    }
  free(buffer);
  tell("GUEST-FOUND %d", WRITERS * AREA_BLOCKS);
}

static int parameter(const char *line, const char *name, char *into, size_t size) {
  const char *at = strstr(line, name);
  if (at == NULL) return 0;
  at += strlen(name);
  size_t length = strcspn(at, " \n");
  if (length >= size) length = size - 1;
  memcpy(into, at, length);
  into[length] = 0;
  return 1;
}

static int read_parameters(void) {
  char line[2048] = "", word[1024];
  int fd = open("/proc/cmdline", O_RDONLY);
  if (read(fd, line, sizeof line - 1) < 0) fail("cmdline");
  close(fd);
  if (parameter(line, "seed=", word, sizeof word)) seed = strtoull(word, NULL, 10);
  if (parameter(line, "boots=", word, sizeof word))
    for (char *at = word; *at != 0 && boot_count < BOOTS_MAX; boot_count++) {
      for (int writer = 0; writer < WRITERS; writer++) {
        boots[writer][boot_count].from = strtoull(at, &at, 10);
        at++;
        boots[writer][boot_count].to = strtoull(at, &at, 10);
        if (*at != 0) at++;
      }
    }
  for (int writer = 0; writer < WRITERS; writer++) {
    synced[writer] = (uint64_t)boot_count * BOOT_STEPS;
    first_step[writer] = synced[writer] + 1;
  }
  return parameter(line, "idle=", word, sizeof word);
}

static int wants_end(int timeout_ms) {
  static int closed;
  struct pollfd input = { .fd = closed ? -1 : 0, .events = POLLIN };
  char bytes[64];
  if (poll(&input, 1, timeout_ms) <= 0) return 0;
  ssize_t got = read(0, bytes, sizeof bytes);
  if (got == 0) closed = 1;
  return got > 0 && memmem(bytes, got, "stop", 4) != NULL;
}

static void end(void) {
  tell("GUEST-SYNCING");
  sync();
  if (mount(NULL, "/", NULL, MS_REMOUNT | MS_RDONLY, NULL) != 0) fail("remount: %s", strerror(errno));
  tell("GUEST-END %lu %lu", verified, files);
  usleep(200000);
  reboot(RB_POWER_OFF);
}

int main(void) {
  pthread_t threads[WRITERS + 1];
  mount("proc", "/proc", "proc", 0, NULL);
  int idle = read_parameters();
  int fd = open(PATH, O_RDWR | O_CREAT | O_DIRECT, 0644);
  if (fd < 0 || posix_fallocate(fd, 0, place(WRITERS, 0)) != 0) fail("cannot make %s: %s", PATH, strerror(errno));
  fsync(fd);
  if (boot_count > 0) find(fd);
  tell("GUEST-READY");
  if (!idle) {
    for (int writer = 0; writer < WRITERS; writer++) pthread_create(&threads[writer], NULL, write_blocks, (void *)(intptr_t)writer);
    pthread_create(&threads[WRITERS], NULL, write_files, NULL);
  }
  for (unsigned long beat = 0; !wants_end(250); beat++) {
    if (idle) tell("GUEST-BEAT %lu", beat);
    else tell("GUEST-AT %lu %lu %lu %lu %lu", synced[0], synced[1], verified, files, atomic_exchange(&longest_ms, 0));
  }
  stopping = 1;
  if (!idle) {
    for (int i = 0; i <= WRITERS; i++) pthread_join(threads[i], NULL);
    unsigned char *buffer = aligned_alloc(BLOCK, RUN_MAX * BLOCK);
    for (int writer = 0; writer < WRITERS; writer++)
      for (int at = 0; at < AREA_BLOCKS; at += RUN_MAX) look(fd, buffer, writer, at, RUN_MAX);
  }
  close(fd);
  end();
  return 0;
}
