// Runs CUDA kernels on this machine's processor, for tests: the workgroups of a launch ("blocks") in a loop, the
// threads of one as fibres, which take turns and meet at barriers.
//
// What it notices, beyond wrong results:
//   - a barrier that some threads of a block reach and others don't, or that they reach in different lines;
//   - shared memory that is read before it is written: each block finds it full of ones (NaN, -1);
//   - shared memory that is written next to an array, and more of it than a block may have;
//   - a missing wait for copies that threads begin: until the wait there are ones where the copy goes;
//   - products of a warpgroup with no fence or no wait, or that its threads don't ask for alike;
//   - a missing barrier, mostly: threads take turns in orders that change from barrier to barrier, so that some read
//     what others have not written yet, or have written already.
//
// A thread that never waits costs a call: a fibre runs one thread after another until one has to wait.
// Fibres begin by way of ucontext and change by _setjmp and _longjmp, which need no system call.

#pragma once
#ifndef MINIGRAD_EMULATION
#define MINIGRAD_EMULATION 1
#endif
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <tuple>
#include <type_traits>
#include <ucontext.h>
#include <vector>

namespace emulation {

constexpr unsigned MOST_THREADS = 1024, WARP = 32, ORDERS = 5;
constexpr size_t STACK = 128 << 10;          // bytes a fibre has; the caller brings one more than MOST_THREADS
constexpr size_t MOST_SHARED = 48 << 10;     // bytes a block may declare, on every card
constexpr size_t MOST_AT_LAUNCH = 227 << 10; // bytes a launch may give, on the largest
constexpr uint64_t MARK = 0x5afe5afe5afe5afe;  // at the end of each stack; gone if a thread needed more

struct Triple { unsigned x, y, z; };

enum class Wait { BLOCK, WARP };

struct Fibre {
  jmp_buf place;         // where it waits
  ucontext_t beginning;
  bool begun;
  unsigned thread;       // the one it runs
  Wait wait;             // for whom
  int line;              // of the barrier
  uint64_t *mark;
};

// --- shared memory ------------------------------------------------------------------------------------------------

struct SharedMemory {  // an array of one kernel; made when the first thread comes by its declaration
#ifdef __SANITIZE_ADDRESS__
  static constexpr size_t GUARD = 0;  // the sanitizer has its own
#else
  static constexpr size_t GUARD = 64;
#endif
  static constexpr size_t ALIGNED = 1024;
  const char *name;
  size_t bytes;
  bool declared;         // in the text; else the launch gives it
  unsigned char *memory;
  SharedMemory *next;

  SharedMemory(const char *name, size_t bytes, bool declared = true);
  void fill() { memset(memory, 0xff, bytes); }
  bool whole() const {
    for (size_t i = 0; i < GUARD; i++)
      if (memory[-1 - (ptrdiff_t)i] != 0xa5 || memory[bytes + i] != 0xa5) return false;
    return true;
  }
};

// What the launch gives: the kernel says where in it its arrays are.
struct SharedAtLaunch : SharedMemory {
  explicit SharedAtLaunch(const char *name);
};

template <class Array> struct Shared : SharedMemory {
  explicit Shared(const char *name) : SharedMemory(name, sizeof(Array)) {}
  Array &array() { return *reinterpret_cast<Array *>(memory); }
};

// --- the launch that runs -----------------------------------------------------------------------------------------

struct State {
  const char *kernel;
  unsigned threads, block;
  void (*call)(const void *);     // runs the kernel for the current thread
  const void *arguments;
  char *stacks;
  SharedMemory **shared;
  Fibre *current;
  Fibre *waiting[MOST_THREADS];   // by thread; null for one that does not wait
  Fibre *idle[MOST_THREADS];
  unsigned idles, fibres, started, returned, turns;
  const void *slots[MOST_THREADS];  // what threads show to their warp
  jmp_buf scheduler;
  char message[1024];
  size_t at_launch;                 // bytes of shared memory that the launch gives
  const char *problem;              // what a thread noticed
};

// Copies that a thread has begun, each in the group of its number.
struct Begun { void *to; const void *from; unsigned bytes, group; };
static std::vector<Begun> begun[MOST_THREADS];
static unsigned committed[MOST_THREADS];
static bool hidden[MOST_THREADS];  // whether what the thread copied is not yet shown to matrix instructions

static State state;
static Fibre fibres[MOST_THREADS];
static Triple thread_index, block_index, block_size, grid_size;
static unsigned orders[ORDERS][MOST_THREADS];  // the first upwards, the others shuffled

inline SharedMemory::SharedMemory(const char *name, size_t bytes, bool declared)
    : name(name), bytes(bytes), declared(declared), next(*state.shared) {
  constexpr size_t before = GUARD ? ALIGNED : 0;
  void *start = nullptr;
  if (posix_memalign(&start, ALIGNED, before + bytes + GUARD)) abort();
  unsigned char *whole = static_cast<unsigned char *>(start);
  memset(whole, 0xa5, before + bytes + GUARD);
  memory = whole + before;
  fill();
  *state.shared = this;
}

inline SharedAtLaunch::SharedAtLaunch(const char *name) : SharedMemory(name, state.at_launch, false) {}

// Shared memory begins here, as a number of 32 bits.
constexpr unsigned WINDOW = 1024;

__attribute__((format(printf, 1, 2))) static const char *complain(const char *format, ...) {
  int n = snprintf(state.message, sizeof state.message, "block %u: ", state.block);
  va_list list;
  va_start(list, format);
  vsnprintf(state.message + n, sizeof state.message - n, format, list);
  va_end(list);
  return state.message;
}

static void make_orders() {
  uint32_t random = 1;
  for (unsigned k = 0; k < ORDERS; k++) {
    for (unsigned n = 0; n < state.threads; n++) orders[k][n] = n;
    for (unsigned n = state.threads; k > 0 && n > 1; n--) {
      random = random * 1664525 + 1013904223;
      unsigned other = (random >> 8) % n, kept = orders[k][n - 1];
      orders[k][n - 1] = orders[k][other];
      orders[k][other] = kept;
    }
  }
}

// The order in which threads take their turns until the next barrier. ORDERS is no divisor of what loops are like.
static const unsigned *order() { return orders[(state.block + state.turns) % ORDERS]; }

__attribute__((noinline)) static void park() {
  if (_setjmp(state.current->place) == 0) _longjmp(state.scheduler, 1);
}

// The life of a fibre: it runs threads that have not begun, then waits to be used again.
static void live() {
  for (;;) {
    while (state.started < state.threads) {
      thread_index.x = state.current->thread = order()[state.started++];
      state.call(state.arguments);
      state.returned++;
    }
    state.idle[state.idles++] = state.current;
    park();
  }
}

__attribute__((noinline)) static void resume(Fibre *fibre) {
  state.current = fibre;
  thread_index.x = fibre->thread;
  if (_setjmp(state.scheduler)) return;
  if (fibre->begun) _longjmp(fibre->place, 1);
  fibre->begun = true;
  setcontext(&fibre->beginning);
}

static Fibre *new_fibre() {
  unsigned n = state.fibres++;
  Fibre *fibre = &fibres[n];
  char *stack = state.stacks + (n + 1) * STACK;
  getcontext(&fibre->beginning);
  fibre->beginning.uc_stack.ss_sp = stack;
  fibre->beginning.uc_stack.ss_size = STACK;
  fibre->beginning.uc_link = nullptr;
  fibre->begun = false;
  fibre->mark = reinterpret_cast<uint64_t *>(stack);
  *fibre->mark = MARK;
  makecontext(&fibre->beginning, live, 0);
  return fibre;
}

__attribute__((noinline)) static void meet(Wait wait, int line) {
  Fibre *fibre = state.current;
  fibre->wait = wait;
  fibre->line = line;
  state.waiting[fibre->thread] = fibre;
  park();
}

// Whether the threads from begin to end all wait at one barrier.
static bool all_wait(unsigned begin, unsigned end, Wait wait) {
  for (unsigned t = begin; t < end; t++) {
    const Fibre *fibre = state.waiting[t], *first = state.waiting[begin];
    if (!fibre || fibre->wait != wait || fibre->line != first->line) return false;
  }
  return true;
}

// Let the threads of the warps that are marked go on.
static void release(const bool *warps) {
  state.turns++;
  const unsigned *turn = order();
  for (unsigned n = 0; n < state.threads; n++) {
    if (!warps[turn[n] / WARP]) continue;
    Fibre *fibre = state.waiting[turn[n]];
    state.waiting[turn[n]] = nullptr;
    resume(fibre);
  }
}

static const char *divergence() {
  const Fibre *first = nullptr;
  for (unsigned t = 0; t < state.threads; t++)
    if (!first) first = state.waiting[t];
  const char *who = first->wait == Wait::BLOCK ? "__syncthreads()" : "a warp operation";
  for (unsigned t = 0; t < state.threads; t++) {
    const Fibre *other = state.waiting[t];
    if (!other)
      return complain("thread %u waits at %s in line %d, but thread %u has returned", first->thread, who, first->line,
                      t);
    if (other->wait != first->wait || other->line != first->line)
      return complain("thread %u waits at %s in line %d, but thread %u in line %d", first->thread, who, first->line, t,
                      other->line);
  }
  return complain("threads wait for ever");
}

static void forget_products();
static const char *unfinished_products();

static const char *run_block() {
  for (SharedMemory *s = *state.shared; s; s = s->next) s->fill();
  state.started = state.returned = state.turns = 0;
  for (unsigned t = 0; t < state.threads; t++) begun[t].clear(), committed[t] = 0;
  forget_products();
  while (state.started < state.threads) resume(state.idles ? state.idle[--state.idles] : new_fibre());
  while (state.returned < state.threads) {
    bool met[MOST_THREADS / WARP], some = false, all = all_wait(0, state.threads, Wait::BLOCK);
    for (unsigned warp = 0; warp * WARP < state.threads; warp++) {
      unsigned end = (warp + 1) * WARP;
      met[warp] = all || all_wait(warp * WARP, end < state.threads ? end : state.threads, Wait::WARP);
      some |= met[warp];
    }
    if (!some) return divergence();
    release(met);
  }
  size_t total = 0;
  for (SharedMemory *s = *state.shared; s; s = s->next) {
    if (!s->whole()) return complain("something is written outside of shared array %s", s->name);
    total += s->declared ? s->bytes : 0;
  }
  for (unsigned t = 0; t < state.threads; t++)
    if (!begun[t].empty()) return complain("thread %u ends before a copy that it has begun", t);
  if (!state.problem) state.problem = unfinished_products();
  if (state.problem) return state.problem;
  if (total > MOST_SHARED) return complain("%zu bytes of shared memory, a block has %zu", total, MOST_SHARED);
  for (unsigned n = 0; n < state.fibres; n++)
    if (*fibres[n].mark != MARK) return complain("a thread needs more than %zu bytes of stack", STACK);
  return nullptr;
}

// One kernel argument: the next address, or the next number, which is an int64 or the bits of a float64.
template <class P> static P take(void **&arrays, const int64_t *&scalars) {
  if constexpr (std::is_pointer_v<P>) {
    return static_cast<P>(*arrays++);
  } else if constexpr (std::is_floating_point_v<P>) {
    double value;
    memcpy(&value, scalars++, sizeof value);
    return static_cast<P>(value);
  } else {
    return static_cast<P>(*scalars++);
  }
}

// Run a kernel's blocks from begin to end; what went wrong, or null.
template <class... P>
static const char *launch(const char *name, void (*kernel)(P...), SharedMemory *&shared, unsigned threads,
                          void **arrays, const int64_t *scalars, int64_t begin, int64_t end, char *stacks,
                          size_t at_launch) {
  struct Call {
    void (*kernel)(P...);
    std::tuple<P...> arguments;
  } call{kernel, std::tuple<P...>{take<P>(arrays, scalars)...}};  // braces: from the first to the last
  state.kernel = name;
  state.threads = threads;
  state.call = [](const void *c) {
    std::apply(static_cast<const Call *>(c)->kernel, static_cast<const Call *>(c)->arguments);
  };
  state.arguments = &call;
  state.stacks = stacks;
  state.shared = &shared;
  state.at_launch = at_launch;
  state.problem = nullptr;
  state.idles = state.fibres = state.block = 0;
  memset(state.waiting, 0, sizeof state.waiting);
  block_size = {threads, 1, 1};
  grid_size = {static_cast<unsigned>(end), 1, 1};
  thread_index = block_index = {0, 0, 0};
  if (threads < 1 || threads > MOST_THREADS) return complain("%u threads, a block has 1 to %u", threads, MOST_THREADS);
  if (at_launch > MOST_AT_LAUNCH)
    return complain("%zu bytes of shared memory at the launch, a block has %zu", at_launch, MOST_AT_LAUNCH);
  make_orders();
  if (end > INT32_MAX) return complain("%lld blocks, a grid has at most %d", (long long)end, INT32_MAX);
  for (int64_t block = begin; block < end; block++) {
    state.block = block_index.x = static_cast<unsigned>(block);
    if (const char *problem = run_block()) return problem;
  }
  return nullptr;
}

// --- warps --------------------------------------------------------------------------------------------------------

// Every lane shows the others a value: what the lanes of this warp passed, by lane. It holds until the lanes meet
// again, which they must do before one of them changes or leaves what it showed.
static inline const void *const *show(const void *mine, int line) {
  state.slots[thread_index.x] = mine;
  meet(Wait::WARP, line);
  return &state.slots[thread_index.x / WARP * WARP];
}

// The value of another lane; the lane's own where there is no such lane.
template <class T> static T shuffle(T mine, unsigned lane, int line) {
  unsigned first = thread_index.x / WARP * WARP;
  const void *const *lanes = show(&mine, line);
  T result = lane < WARP && first + lane < state.threads ? *static_cast<const T *>(lanes[lane]) : mine;
  meet(Wait::WARP, line);
  return result;
}

static inline unsigned lane() { return thread_index.x % WARP; }

// --- copies that go on while their threads do -----------------------------------------------------------------------

static inline void copy_async(void *to, const void *from, unsigned bytes) {
  memset(to, 0xff, bytes);
  begun[thread_index.x].push_back({to, from, bytes, committed[thread_index.x]});
}

static inline void commit_copies() { committed[thread_index.x]++; }

static inline void wait_copies(unsigned groups) {
  std::vector<Begun> &mine = begun[thread_index.x];
  size_t left = 0;
  for (const Begun &copy : mine) {
    if (copy.group + groups < committed[thread_index.x]) memcpy(copy.to, copy.from, copy.bytes);
    else mine[left++] = copy;
  }
  if (left < mine.size()) hidden[thread_index.x] = true;
  mine.resize(left);
}

// --- what four warps multiply together, by wgmma ---------------------------------------------------------------------
//
// A product is computed when it is waited for, from what shared memory holds then: by each thread its own sums, as PTX's
// "D fragment layout" of wgmma says.

struct Product {
  float *sums;
  uint64_t a, b;
  int columns;
  bool a_turned, b_turned;
  float (*value)(unsigned short);
  unsigned group;
};
static std::vector<Product> products[MOST_THREADS];
static std::vector<Product> agreed[MOST_THREADS / (4 * WARP)];  // by warpgroup: what its first thread asked for
static unsigned asked[MOST_THREADS], product_groups[MOST_THREADS];
static bool ordered[MOST_THREADS];

static void forget_products() {
  for (unsigned t = 0; t < MOST_THREADS; t++) {
    products[t].clear();
    asked[t] = product_groups[t] = 0;
    ordered[t] = hidden[t] = false;
  }
  for (std::vector<Product> &each : agreed) each.clear();
}

static const char *unfinished_products() {
  for (unsigned t = 0; t < state.threads; t++) {
    if (!products[t].empty()) return complain("thread %u ends before products that it has begun", t);
    if (asked[t] != asked[t / 128 * 128]) return complain("the threads of a warpgroup don't multiply alike");
  }
  return nullptr;
}

static void notice(const char *problem) {
  if (!state.problem) state.problem = complain("thread %u: %s", thread_index.x, problem);
}

static inline unsigned shared_address(const void *at) {
  for (SharedMemory *s = *state.shared; s; s = s->next)
    if (!s->declared) return WINDOW + (unsigned)((const unsigned char *)at - s->memory);
  return 0;
}

// Element k of a row (of A, or a column of B) by its descriptor: 16 bytes number g of the 8 in a row of 128 bytes are at
// g ^ r, where r is the row's number, both read off the address.
static float matrix_element(uint64_t descriptor, bool turned, int row, int k, float (*value)(unsigned short)) {
  unsigned start = (descriptor & 0x3fff) << 4, leading = (descriptor >> 16 & 0x3fff) << 4;
  unsigned stride = (descriptor >> 32 & 0x3fff) << 4;
  if (descriptor >> 62 != 1 || (descriptor >> 49 & 7)) notice("the descriptor is of no tile swizzled by 128 bytes");
  unsigned at = turned ? start + row / 64 * leading + row % 64 * 2 + k / 8 * stride + k % 8 * 128
                       : start + row / 8 * stride + row % 8 * 128 + k * 2;
  at ^= at >> 3 & 0x70;
  for (SharedMemory *s = *state.shared; s; s = s->next)
    if (!s->declared && at >= WINDOW && at - WINDOW + 2 <= s->bytes) {
      unsigned short bits;
      memcpy(&bits, s->memory + (at - WINDOW), 2);
      return value(bits);
    }
  notice("a descriptor reaches outside of shared memory");
  return 0.0f;
}

static inline void begin_products() { ordered[thread_index.x] = true; }
static inline void commit_products() { product_groups[thread_index.x]++; }
static inline void show_copies() { hidden[thread_index.x] = false; }

static inline void multiply(float *sums, uint64_t a, uint64_t b, int columns, bool a_turned, bool b_turned,
                            float (*value)(unsigned short)) {
  unsigned t = thread_index.x;
  Product product{sums, a, b, columns, a_turned, b_turned, value, product_groups[t]};
  std::vector<Product> &all = agreed[t / 128];
  if (asked[t] == all.size()) all.push_back(product);
  const Product &other = all[asked[t]++];
  if (other.a != a || other.b != b || other.columns != columns) notice("the threads of a warpgroup don't multiply alike");
  if (!ordered[t]) notice("wgmma with no wgmma.fence before it");
  for (unsigned n = 0; n < state.threads; n++)
    if (hidden[n]) notice("wgmma of what was copied with no fence.proxy.async");
  products[t].push_back(product);
}

static inline void wait_products(unsigned groups) {
  unsigned t = thread_index.x, left = 0;
  ordered[t] = false;
  for (const Product &p : products[t]) {
    if (p.group + groups >= product_groups[t]) {
      products[t][left++] = p;
      continue;
    }
    for (int n = 0; n < p.columns / 2; n++) {
      int row = t % 128 / 32 * 16 + n / 2 % 2 * 8 + t % 32 / 4, column = n / 4 * 8 + t % 4 * 2 + n % 2;
      for (int k = 0; k < 16; k++)
        p.sums[n] = fmaf(matrix_element(p.a, p.a_turned, row, k, p.value),
                         matrix_element(p.b, p.b_turned, column, k, p.value), p.sums[n]);
    }
  }
  products[t].resize(left);
}

}  // namespace emulation

// --- CUDA's words -------------------------------------------------------------------------------------------------

#define __global__
#define __device__
#define __host__
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __align__(bytes) alignas(bytes)
#define threadIdx emulation::thread_index
#define blockIdx emulation::block_index
#define blockDim emulation::block_size
#define gridDim emulation::grid_size
#define warpSize 32
#define __syncthreads() emulation::meet(emulation::Wait::BLOCK, __LINE__)
#define __syncwarp(...) emulation::meet(emulation::Wait::WARP, __LINE__)
#define __shfl_sync(mask, value, from) emulation::shuffle(value, (from) % 32, __LINE__)
#define __shfl_xor_sync(mask, value, other) emulation::shuffle(value, emulation::lane() ^ (other), __LINE__)
#define __shfl_down_sync(mask, value, by) emulation::shuffle(value, emulation::lane() + (by), __LINE__)
#define __shfl_up_sync(mask, value, by) emulation::shuffle(value, emulation::lane() - (by), __LINE__)

// `extern __shared__ __align__(16) unsigned char memory[];` becomes `SHARED_AT_LAUNCH(memory);`
#define SHARED_AT_LAUNCH(name)                                              \
  static emulation::SharedAtLaunch name##_memory(#name);                    \
  unsigned char *const name = name##_memory.memory

// `__shared__ float tile[64];` becomes `SHARED(float, tile, [64]);`
#define SHARED(type, name, size)                                            \
  static emulation::Shared<type size> name##_memory(#name);                 \
  auto &name = name##_memory.array()
