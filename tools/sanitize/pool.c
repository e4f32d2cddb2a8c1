/* Runs on the thread pool of pool.ll, in a process that stands in for Python. pool ROUNDS SEED: each round is a run of
   chained kernels, each of which reads what other chunks of the one before wrote; its results are checked. CONTENTS,
   POOL, RECORD and PHASE are defined above. */
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { WORKERS = 4, STEPS = 6, MOST = 3000, ROUNDS_OF_A_POOL = 50 };

typedef struct { void (*function)(void **, const int64_t *, int64_t, int64_t); void **arrays; int64_t *scalars;
                 int64_t iterations, grain; } step;
typedef struct { step *steps; int64_t count; void *pool; int64_t threads; int64_t *slots; int64_t (*moves)[2];
                 int64_t *cells; int64_t moved; int32_t *phase; int64_t firm, complete, *times, stop,
                 *slot, words; } run;
typedef struct { char head[CONTENTS]; run *run; int64_t *slots, count, free; void *none; char kinds[16]; } entry;

void *mg_call(void *self, void **arguments, int64_t given);
void mg_worker(void *pool, int64_t index);
void mg_leader(void *pool);
void mg_start(void *pool, int64_t spins, void *records);
void mg_settle(void *pool);
void mg_stop(void *pool);

static char *pool;
static int none, exception;
static int64_t workers;
static pthread_t threads[WORKERS + 1];
static int aborted, finished_late, handled, nested;

/* --- a thread-safe and seeded choice ----------------------------------------------------------------------------- */

static uint64_t state;

static int64_t choose(int64_t below) {
  uint64_t x = __atomic_add_fetch(&state, 0x9E3779B97F4A7C15u, __ATOMIC_RELAXED);
  x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
  x = (x ^ x >> 27) * 0x94D049BB133111EBu;
  return (int64_t)((x ^ x >> 31) % (uint64_t)below);
}

static void sleep_for(int64_t microseconds) {
  const struct timespec time = {0, microseconds * 1000};
  nanosleep(&time, NULL);
}

/* --- what pool.ll asks of Python --------------------------------------------------------------------------------- */

static pthread_mutex_t interpreter = PTHREAD_MUTEX_INITIALIZER;
static int signalled;

static int64_t compute(int may_be_guarded);

uint64_t PyLong_AsUnsignedLongLongMask(void *number) { return (uint64_t)number; }
double PyFloat_AsDouble(void *number) { return (double)(int64_t)number; }
int PyErr_BadArgument(void) { abort(); }
void *PyErr_Occurred(void) { return NULL; }
void *PyEval_SaveThread(void) { pthread_mutex_unlock(&interpreter); return NULL; }
void PyEval_RestoreThread(void *state) { (void)state; pthread_mutex_lock(&interpreter); }
void PyErr_Fetch(void **type, void **value, void **trace) { *type = *trace = NULL; *value = &exception; }
void PyErr_NormalizeException(void **type, void **value, void **trace) { (void)type, (void)value, (void)trace; }
void Py_IncRef(void *object) { (void)object; }
void Py_DecRef(void *object) { (void)object; }

/* The handler of a signal looks, waits for the run under way, or computes something; and may raise. */
int PyErr_CheckSignals(void) {
  if (!__atomic_exchange_n(&signalled, 0, __ATOMIC_SEQ_CST)) return 0;
  handled++;
  switch (choose(4)) {
    case 0: mg_settle(pool); break;
    case 1: compute(0), nested++; break;
  }
  return choose(3) ? -1 : 0;
}

static void on_signal(int number) { (void)number; __atomic_store_n(&signalled, 1, __ATOMIC_SEQ_CST); }

int64_t fetch_max(int64_t *at, int64_t value, int order) {
  int64_t seen = __atomic_load_n(at, __ATOMIC_SEQ_CST);
  (void)order;
  while (!__atomic_compare_exchange_n(at, &seen, seen > value ? seen : value, 0, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST)) {}
  return seen;
}

static const int64_t no_index_is_wrong = 0;

/* --- runs -------------------------------------------------------------------------------------------------------- */

static int64_t mixed(const int64_t *from, int64_t n, int64_t i, int64_t salt) {
  return from[(i * 7 + 3) % n] * 31 + i + salt;
}

/* Arrays from, to; numbers elements, salt, microseconds of each iteration. */
static void mix(void **arrays, const int64_t *scalars, int64_t begin, int64_t end) {
  const int64_t *from = arrays[0];
  int64_t *to = arrays[1];
  for (int64_t i = begin; i < end; i++) {
    to[i] = mixed(from, scalars[0], i, scalars[1]);
    if (scalars[2]) sleep_for(scalars[2]);
  }
}

static void check(int64_t count, int64_t n, int64_t salt, int64_t *const *arrays) {
  for (int64_t k = 0; k < count; k++)
    for (int64_t i = 0; i < n; i++)
      if (arrays[k + 1][i] != mixed(arrays[k], n, i, salt)) {
        fprintf(stderr, "step %d of %d: element %d of %d is wrong\n", (int)k, (int)count, (int)i, (int)n);
        exit(6);
      }
}

/* One run, for whoever has the interpreter lock and the run lock. 1: it was aborted. */
static int64_t compute(int may_be_guarded) {
  const int guarded = may_be_guarded && choose(2), slow = guarded && choose(2);
  const int64_t count = 1 + choose(STEPS), n = slow ? 20 + choose(50) : 1 + choose(MOST), salt = choose(1000);
  int64_t *arrays[STEPS + 1], slots[STEPS + 4], moves[STEPS * 5][2], cells[STEPS * 5];
  void *arguments[STEPS + 4];
  step steps[STEPS];
  for (int64_t k = 0; k <= count; k++) arguments[k] = arrays[k] = calloc(n, 8);
  for (int64_t i = 0; i < n; i++) arrays[0][i] = i;
  arguments[count + 1] = (void *)n, arguments[count + 2] = (void *)salt, arguments[count + 3] = (void *)(slow ? 300L : 0L);
  for (int64_t k = 0; k < count; k++) {
    int64_t *cell = cells + 5 * k;
    const int64_t sources[5] = {k, k + 1, count + 1, count + 2, count + 3};
    for (int j = 0; j < 5; j++) moves[5 * k + j][0] = sources[j], moves[5 * k + j][1] = 0;
    steps[k] = (step){mix, (void **)cell, cell + 2, n, choose(4) ? 1 + choose(n) / 8 : 0};
  }
  int64_t words = (int64_t)&no_index_is_wrong, times[STEPS + 1];
  run it = {steps, count, pool, 1 + choose(workers + 1), slots, moves, cells, 5 * count,
            guarded ? (int32_t *)(pool + PHASE) : NULL, choose(2) ? choose(count) : count, 0,
            choose(2) ? times : NULL, choose(2) ? choose(count) : -1, &words, 1};
  entry self = {.run = &it, .slots = slots, .count = count + 4, .free = 1, .none = &none};
  void *result = mg_call(&self, arguments, count + 4);
  if (result == &exception) __atomic_add_fetch(&finished_late, 1, __ATOMIC_RELAXED);
  if (result == NULL) __atomic_add_fetch(&aborted, 1, __ATOMIC_RELAXED);
  else if (!it.complete) exit(7);
  else check(count, n, salt, arrays);
  for (int64_t k = 0; k <= count; k++) free(arrays[k]);
  return result == NULL;
}

/* --- threads ----------------------------------------------------------------------------------------------------- */

static pthread_mutex_t run_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_t main_thread;
static int over;

static void locked_compute(int may_be_guarded) {
  pthread_mutex_lock(&run_lock);
  pthread_mutex_lock(&interpreter);
  compute(may_be_guarded);
  pthread_mutex_unlock(&interpreter);
  pthread_mutex_unlock(&run_lock);
}

static void *live(void *index) {
  if (index) mg_worker(pool, (int64_t)index - 1);
  else mg_leader(pool);
  return NULL;
}

/* Another thread that computes, and one that sends signals to the first. */
static void *compute_too(void *nothing) {
  for (; !__atomic_load_n(&over, __ATOMIC_SEQ_CST); sleep_for(choose(2000))) locked_compute(0);
  return nothing;
}

static void *pester(void *nothing) {
  for (; !__atomic_load_n(&over, __ATOMIC_SEQ_CST); sleep_for(choose(15000))) pthread_kill(main_thread, SIGUSR1);
  return nothing;
}

static void use_pool(int64_t rounds) {
  pool = aligned_alloc(64, POOL + (WORKERS + 1) * RECORD + 64 & -64);
  memset(pool, 0, POOL + (WORKERS + 1) * RECORD);
  mg_start(pool, 1 + choose(300), pool + POOL);
  pthread_create(&threads[0], NULL, live, NULL);
  pthread_t other, sender;
  over = 0;
  pthread_create(&other, NULL, compute_too, NULL);
  pthread_create(&sender, NULL, pester, NULL);
  for (int64_t i = 0; i < rounds; i++) {
    if (workers < WORKERS && !choose(8)) {
      pthread_mutex_lock(&run_lock);
      workers++;
      pthread_create(&threads[workers], NULL, live, (void *)workers);
      pthread_mutex_unlock(&run_lock);
    }
    locked_compute(1);
    if (!choose(4)) sleep_for(choose(3000));
  }
  __atomic_store_n(&over, 1, __ATOMIC_SEQ_CST);
  pthread_join(other, NULL), pthread_join(sender, NULL);
  mg_stop(pool);
  for (; workers >= 0; workers--) pthread_join(threads[workers], NULL);
  workers = 0;
  free(pool);
}

int main(int count, char **words) {
  if (count != 3) return 2;
  state = strtoull(words[2], NULL, 10) * 7919;
  main_thread = pthread_self();
  signal(SIGUSR1, on_signal);
  for (int64_t rounds = atoll(words[1]); rounds > 0; rounds -= ROUNDS_OF_A_POOL)
    use_pool(rounds < ROUNDS_OF_A_POOL ? rounds : ROUNDS_OF_A_POOL);
  printf("%d runs aborted, %d finished though a handler raised, %d handlers, %d of them computed\n", aborted,
         finished_late, handled, nested);
  return 0;
}
