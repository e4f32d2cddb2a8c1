/* How many float32 multiply-adds a second this machine can do: independent vector accumulators in registers, on
   every thread. Arguments: number of threads, seconds to run. Prints GFLOP/s (a multiply-add counts as two). */
#define _POSIX_C_SOURCE 200809L
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#ifdef __AVX512F__
enum { LANES = 16 };
#elif defined(__AVX__)
enum { LANES = 8 };
#else
enum { LANES = 4 };
#endif
typedef float vector __attribute__((vector_size(LANES * sizeof(float))));
enum { ACCUMULATORS = 10, STEPS = 100000, MOST_THREADS = 256 };

static double limit;
static double flops[MOST_THREADS];

static double now(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void *work(void *argument) {
  double *done = argument, start = now();
  vector sums[ACCUMULATORS], scale, shift;
  for (int lane = 0; lane < LANES; lane++) {
    scale[lane] = 0.999f;
    shift[lane] = 0.001f;
    for (int i = 0; i < ACCUMULATORS; i++) sums[i][lane] = (float)(i + lane);
  }
  long rounds = 0;
  while (now() - start < limit) {
    for (int step = 0; step < STEPS; step++)
      for (int i = 0; i < ACCUMULATORS; i++) sums[i] = sums[i] * scale + shift;
    rounds++;
  }
  double seconds = now() - start;
  volatile float sink = 0;
  for (int i = 0; i < ACCUMULATORS; i++) sink += sums[i][0];
  *done = (double)rounds * STEPS * ACCUMULATORS * LANES * 2 / seconds;
  return NULL;
}

int main(int count, char **arguments) {
  int threads = count > 1 ? atoi(arguments[1]) : 1;
  limit = count > 2 ? atof(arguments[2]) : 0.2;
  if (threads < 1 || threads > MOST_THREADS) return 2;
  pthread_t ids[MOST_THREADS];
  for (int t = 0; t < threads; t++)
    if (pthread_create(&ids[t], NULL, work, &flops[t])) return 1;
  double total = 0;
  for (int t = 0; t < threads; t++) {
    pthread_join(ids[t], NULL);
    total += flops[t];
  }
  printf("%.3f\n", total * 1e-9);
  return 0;
}
