/* Runs recorded launches, each array in memory of exactly its size. Behind the kernels' C; kernels[] is defined above.
   driver SCRIPT RESULTS: both are int64 numbers and bytes; replay.py writes and reads them. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/asan_interface.h>
#define CLOSE(from, bytes) ASAN_POISON_MEMORY_REGION(from, bytes)
#define OPEN(from, bytes) ASAN_UNPOISON_MEMORY_REGION(from, bytes)
#else
#define CLOSE(from, bytes) (void)(from)
#define OPEN(from, bytes) (void)(from)
#endif

enum { THREADS = 3, PARTS = 63, LINE = 64 };

static FILE *script;
static struct { kernel_function *kernel; void **arrays; int64_t *scalars; int64_t iterations; } job;
static pthread_barrier_t start, end;

static int64_t number(void) {
  int64_t n;
  if (fread(&n, sizeof n, 1, script) != 1) exit(3);
  return n;
}

/* Every third part of the iterations: neighbours are on different threads, in no order. */
static void share(int64_t thread) {
  const int64_t n = job.iterations, parts = n < PARTS ? n : PARTS;
  for (int64_t part = thread; part < parts; part += THREADS)
    job.kernel(job.arrays, job.scalars, n / parts * part + (part < n % parts ? part : n % parts),
               n / parts * (part + 1) + (part + 1 < n % parts ? part + 1 : n % parts));
}

static void *work(void *which) {
  for (;;) {
    pthread_barrier_wait(&start);
    if (!job.kernel) return NULL;
    share((int64_t)which);
    pthread_barrier_wait(&end);
  }
}

static void together(void) {
#if defined(__SANITIZE_THREAD__)
  if (job.iterations > 1) {
    pthread_barrier_wait(&start);
    pthread_barrier_wait(&end);
    return;
  }
#endif
  for (int64_t thread = 0; thread < THREADS; thread++) share(thread);
}

static void launch(FILE *results) {
  job.kernel = kernels[number()];
  job.iterations = number();
  const int64_t blocks = number(), arrays = number(), scalars = number();
  char **memory = calloc(blocks, sizeof *memory), **block = calloc(blocks, sizeof *block);
  int64_t *sizes = calloc(blocks, sizeof *sizes);
  for (int64_t i = 0; i < blocks; i++) {
    const int64_t shift = number();
    sizes[i] = number();
    if (posix_memalign((void **)&memory[i], LINE, shift + sizes[i])) exit(4);
    block[i] = memory[i] + shift;
    if (fread(block[i], 1, sizes[i], script) != (size_t)sizes[i]) exit(5);
    CLOSE(memory[i], shift);
  }
  job.arrays = calloc(arrays, sizeof *job.arrays);
  for (int64_t i = 0; i < arrays; i++) {
    const int64_t at = number(), offset = number();
    job.arrays[i] = at < 0 ? NULL : block[at] + offset;
  }
  job.scalars = calloc(scalars, sizeof *job.scalars);
  for (int64_t i = 0; i < scalars; i++) job.scalars[i] = number();
  together();
  for (int64_t i = 0; i < blocks; i++) {
    fwrite(block[i], 1, sizes[i], results);
    OPEN(memory[i], block[i] - memory[i]);
    free(memory[i]);
  }
  free(memory), free(block), free(sizes), free(job.arrays), free(job.scalars);
}

int main(int count, char **words) {
  if (count != 3) return 2;
  script = fopen(words[1], "rb");
  FILE *results = fopen(words[2], "wb");
  pthread_t threads[THREADS];
  pthread_barrier_init(&start, NULL, THREADS + 1);
  pthread_barrier_init(&end, NULL, THREADS + 1);
  for (int64_t i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, work, (void *)i);
  for (int64_t launches = number(); launches > 0; launches--) launch(results);
  job.kernel = NULL;
  pthread_barrier_wait(&start);
  for (int64_t i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  fclose(results), fclose(script);
  return 0;
}
