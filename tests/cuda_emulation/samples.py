"""Stage: tests of the CUDA emulation. In: nothing. Out: CUDA kernels as a person writes them, right and wrong.
Next: ``test_emulation.py``."""

from __future__ import annotations

SCALE = """
extern "C" __global__ void __launch_bounds__(64) scale(float *y, const float *x, const long long n, const float by) {
  const long long i = blockIdx.x * 64 + threadIdx.x;
  if (i < n) y[i] = x[i] * by;
}
"""

ROW_SUMS = """
extern "C" __global__ void __launch_bounds__(128) row_sums(float *sums, const float *x, const long long n) {
  __shared__ float partial[128];
  const long long row = blockIdx.x, t = threadIdx.x;
  float sum = 0.0f;
  for (long long i = t; i < n; i += 128) sum += x[row * n + i];
  partial[t] = sum;
  __syncthreads();
  for (int half = 64; half > 0; half /= 2) {
    if (t < half) partial[t] += partial[t + half];
    __syncthreads();
  }
  if (t == 0) sums[row] = partial[0];
}
"""

MATMUL = """
extern "C" __global__ void __launch_bounds__(64) matmul(float *c, const float *a, const float *b, const int n) {
  __shared__ float left[8][8];
  __shared__ float right[8][8];
  const int row = threadIdx.x / 8, column = threadIdx.x % 8;
  const int top = blockIdx.x / (n / 8) * 8, side = blockIdx.x % (n / 8) * 8;
  float sum = 0.0f;
  for (int k = 0; k < n; k += 8) {
    left[row][column] = a[(top + row) * n + k + column];
    right[row][column] = b[(k + row) * n + side + column];
    __syncthreads();
    for (int i = 0; i < 8; i++) sum += left[row][i] * right[i][column];
    __syncthreads();
  }
  c[(top + row) * n + side + column] = sum;
}
"""

WARP_SUMS = """
extern "C" __global__ void __launch_bounds__(96) warp_sums(int *sums, const int *x) {
  int sum = x[blockIdx.x * 96 + threadIdx.x];
  for (int by = 16; by > 0; by /= 2) sum += __shfl_down_sync(0xffffffffu, sum, by);
  if (threadIdx.x % 32 == 0) sums[blockIdx.x * 3 + threadIdx.x / 32] = sum;
}
"""

BUTTERFLY = """
extern "C" __global__ void __launch_bounds__(64) butterfly(int *y, const int *x) {
  __shared__ int kept[2];
  int sum = x[threadIdx.x];
  for (int other = 1; other < 32; other *= 2) sum += __shfl_xor_sync(0xffffffffu, sum, other);
  if (threadIdx.x % 32 == 31) kept[threadIdx.x / 32] = sum;
  __syncthreads();
  y[threadIdx.x] = kept[0] + kept[1] + __shfl_sync(0xffffffffu, x[threadIdx.x], 5);
}
"""

EDGES = """
extern "C" __global__ void __launch_bounds__(40) edges(int *down, int *up, int *around) {
  const int t = threadIdx.x;
  down[t] = __shfl_down_sync(0xffffffffu, t, 3);
  up[t] = __shfl_up_sync(0xffffffffu, t, 3);
  around[t] = __shfl_sync(0xffffffffu, t, 37);
}
"""

RETURNED = """
extern "C" __global__ void __launch_bounds__(40) returned(float *x) {
  if (threadIdx.x == 7) return;
  __syncthreads();
  x[threadIdx.x] = 1.0f;
}
"""

LANE = RETURNED.replace("__syncthreads()", "__syncwarp()").replace("returned(", "lane(")

APART = """
extern "C" __global__ void __launch_bounds__(4) apart(float *x) {
  if (threadIdx.x < 2) {
    __syncthreads();
  } else {
    __syncthreads();
  }
  x[threadIdx.x] = 1.0f;
}
"""

UNSET = """
extern "C" __global__ void __launch_bounds__(4) unset(float *x, const bool first) {
  __shared__ float kept[4];
  if (first && blockIdx.x == 0) kept[threadIdx.x] = 1.0f;
  x[blockIdx.x * 4 + threadIdx.x] = kept[threadIdx.x];
}
"""

OUTSIDE = """
extern "C" __global__ void __launch_bounds__(8) outside(float *x) {
  __shared__ float narrow[7];
  narrow[threadIdx.x] = 1.0f;
}
"""

MANY = OUTSIDE.replace("(8) outside", "(2048) many")

TOO_MUCH = """
extern "C" __global__ void __launch_bounds__(8) too_much(float *x) {
  __shared__ float wide[16384];
  wide[threadIdx.x] = 1.0f;
}
"""

DEEP = """
extern "C" __global__ void __launch_bounds__(1) deep(float *x) {
  volatile char scratch[128 << 10];
  for (int i = 0; i < 1024; i++) scratch[i] = 1;
}
"""

# Each thread reads what a neighbour writes: the next one's, or the one's before. The barrier between is missing.
_RACE = """
extern "C" __global__ void __launch_bounds__(16) @NAME@(int *x) {
  __shared__ int kept[16];
  kept[threadIdx.x] = 0;
  __syncthreads();
  kept[threadIdx.x] = 1;
  x[blockIdx.x * 16 + threadIdx.x] = kept[@NEIGHBOUR@];
}
"""
AHEAD = _RACE.replace("@NAME@", "ahead").replace("@NEIGHBOUR@", "threadIdx.x < 15 ? threadIdx.x + 1 : 15")
BEHIND = _RACE.replace("@NAME@", "behind").replace("@NEIGHBOUR@", "threadIdx.x > 0 ? threadIdx.x - 1 : 0")
MENDED = AHEAD.replace("ahead", "mended").replace("= 1;", "= 1;\n  __syncthreads();")

# The plain form of a matrix instruction: 16x8 += 16x16 @ 16x8, each lane holding its share of the three tiles, laid out
# as PTX's mma.m16n8k16 has it. A lane shows its share to the others, and all meet before one leaves.
MATRIX = """
struct Share { float a[8], b[4]; };
__device__ inline float left(const void *const *lanes, int row, int k) {
  return static_cast<const Share *>(lanes[row % 8 * 4 + k % 8 / 2])->a[k / 8 * 4 + row / 8 * 2 + k % 2];
}
__device__ inline float right(const void *const *lanes, int k, int column) {
  return static_cast<const Share *>(lanes[column * 4 + k % 8 / 2])->b[k / 8 * 2 + k % 2];
}
__device__ inline void multiply(float *c, const Share &mine) {
  const void *const *lanes = emulation::show(&mine, __LINE__);
  const int group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
  for (int i = 0; i < 4; i++)
    for (int k = 0; k < 16; k++)
      c[i] += left(lanes, group + i / 2 * 8, k) * right(lanes, k, member * 2 + i % 2);
  __syncwarp();
}
extern "C" __global__ void __launch_bounds__(64) matrix(float *c, const float *a, const float *b) {
  const int warp = threadIdx.x / 32, group = threadIdx.x % 32 / 4, member = threadIdx.x % 4;
  Share mine;
  for (int i = 0; i < 8; i++) {
    const int row = group + i / 2 % 2 * 8, k = member * 2 + i % 2 + i / 4 * 8;
    mine.a[i] = a[warp * 256 + row * 16 + k];
  }
  for (int i = 0; i < 4; i++) mine.b[i] = b[warp * 128 + (member * 2 + i % 2 + i / 2 * 8) * 8 + group];
  float sums[4] = {0.0f, 0.0f, 0.0f, 0.0f};
  multiply(sums, mine);
  for (int i = 0; i < 4; i++) c[warp * 128 + (group + i / 2 * 8) * 8 + member * 2 + i % 2] = sums[i];
}
"""

# Each thread stores what its neighbour copied meanwhile; the second kernel waits for one group too few.
_COPIED = """
extern "C" __global__ void __launch_bounds__(16) @NAME@(float *x) {
  __shared__ float kept[64];
  const int t = threadIdx.x;
  emulation::copy_async(kept + 2 * t, x + 2 * t, 8);
  emulation::commit_copies();
  emulation::copy_async(kept + 32 + 2 * t, x + 32 + 2 * t, 8);
  emulation::commit_copies();
  emulation::wait_copies(@LEFT@);
  __syncthreads();
  x[t] = kept[2 * ((t + 1) % 16)] + kept[32 + 2 * ((t + 1) % 16)];
  @END@
}
"""
COPIED = _COPIED.replace("@NAME@", "copied").replace("@LEFT@", "0").replace("@END@", "")
EARLY = _COPIED.replace("@NAME@", "early").replace("@LEFT@", "1").replace("@END@", "emulation::wait_copies(0);")
FORGOTTEN = _COPIED.replace("@NAME@", "forgotten").replace("@LEFT@", "1").replace("@END@", "")

# By name: those that run, and those whose run is an error.
RIGHT = {"scale": SCALE, "row_sums": ROW_SUMS, "matmul": MATMUL, "warp_sums": WARP_SUMS, "butterfly": BUTTERFLY,
         "edges": EDGES, "matrix": MATRIX, "unset": UNSET, "ahead": AHEAD, "behind": BEHIND, "mended": MENDED,
         "copied": COPIED, "early": EARLY}
WRONG = {"returned": RETURNED, "lane": LANE, "apart": APART, "outside": OUTSIDE, "many": MANY, "too_much": TOO_MUCH,
         "deep": DEEP, "forgotten": FORGOTTEN}
