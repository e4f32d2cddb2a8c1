// A driver library without a GPU, for NVIDIA's Python bindings to load: memory is malloc's, copies happen at once, and
// there is one kernel, shift(x, y, s): y[i] = x[i] + s. It shows that minigrad calls the bindings as they want it.
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SUCCESS = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, NOT_FOUND = 500, NOT_READY = 600 };
enum { TOTAL = 1 << 26, NODES = 16 };

typedef struct {
  void *function;
  unsigned grid[3], block[3], shared;
  void **parameters, **extra;
  void *kernel, *context;
} Node;  // CUDA_KERNEL_NODE_PARAMS

typedef struct {
  const float *x;
  float *y;
  float s;
  unsigned count;
} Shift;

typedef struct {
  Shift nodes[NODES];
  size_t size;
} Graph;

static size_t used;
static unsigned allowed;  // bytes of shared memory that a launch of shift_wide may give

static int of_kernel(Shift *shift, const char *name, unsigned grid, unsigned block, void **parameters) {
  if (!grid || !block || (strcmp(name, "shift") && strcmp(name, "shift_wide"))) return INVALID_VALUE;
  *shift = (Shift){*(float **)parameters[0], *(float **)parameters[1], *(float *)parameters[2], grid * block};
  return SUCCESS;
}

static void run(const Shift *shift) {
  for (unsigned i = 0; i < shift->count; i++) shift->y[i] = shift->x[i] + shift->s;
}

int cuInit(unsigned flags) { return flags; }
int cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }
int cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
int cuDeviceGet(int *device, int index) { return *device = index, index ? INVALID_VALUE : SUCCESS; }
int cuDeviceGetName(char *name, int size, int device) { return snprintf(name, size, "Pretender %d", device), SUCCESS; }
int cuDeviceTotalMem(size_t *size, int device) { return *size = TOTAL, SUCCESS; }
int cuDeviceGetAttribute(int *value, int attribute, int device) {
  switch (attribute) {
    case 1: *value = 1024; break;         // threads a block
    case 8: *value = 48 << 10; break;     // shared memory a block
    case 10: *value = 32; break;          // threads a warp
    case 16: *value = 7; break;           // multiprocessors
    case 38: *value = 4 << 20; break;     // L2 cache
    case 75: *value = 8; break;           // compute capability
    case 76: *value = 0; break;
    case 97: *value = 163 << 10; break;   // shared memory that a launch may give
    default: return INVALID_VALUE;
  }
  return SUCCESS;
}
int cuDevicePrimaryCtxRetain(void **context, int device) { return *context = &used, SUCCESS; }
int cuCtxSetCurrent(void *context) { return context == &used ? SUCCESS : INVALID_VALUE; }
int cuMemGetInfo(size_t *left, size_t *total) { return *left = TOTAL - used, *total = TOTAL, SUCCESS; }

int cuMemAlloc(uint64_t *address, size_t size) {
  if (used + size > TOTAL) return OUT_OF_MEMORY;
  size_t *block = malloc(size + 64);
  *block = size;
  used += size;
  *address = (uint64_t)block + 64;
  return SUCCESS;
}
int cuMemFree(uint64_t address) {
  size_t *block = (size_t *)(address - 64);
  used -= *block;
  free(block);
  return SUCCESS;
}
int cuMemHostAlloc(void **address, size_t size, unsigned flags) { return *address = malloc(size), SUCCESS; }
int cuMemFreeHost(void *address) { return free(address), SUCCESS; }
int cuMemcpyHtoDAsync(uint64_t to, const void *from, size_t size, void *stream) {
  return stream ? (memcpy((void *)to, from, size), SUCCESS) : INVALID_VALUE;
}
int cuMemcpyDtoHAsync(void *to, uint64_t from, size_t size, void *stream) {
  return stream ? (memcpy(to, (void *)from, size), SUCCESS) : INVALID_VALUE;
}
int cuMemcpyDtoDAsync(uint64_t to, uint64_t from, size_t size, void *stream) {
  return stream ? (memcpy((void *)to, (void *)from, size), SUCCESS) : INVALID_VALUE;
}

int cuStreamCreate(void **stream, unsigned flags) { return *stream = malloc(1), flags == 1 ? SUCCESS : INVALID_VALUE; }
int cuStreamSynchronize(void *stream) { return stream ? SUCCESS : INVALID_VALUE; }
int cuEventCreate(void **event, unsigned flags) { return *event = malloc(1), SUCCESS; }
int cuEventRecord(void *event, void *stream) { return event && stream ? SUCCESS : INVALID_VALUE; }
int cuEventSynchronize(void *event) { return event ? SUCCESS : INVALID_VALUE; }
int cuEventQuery(void *event) {
  static int asked;
  return !event ? INVALID_VALUE : asked++ % 2 ? SUCCESS : NOT_READY;
}
int cuEventElapsedTime(float *milliseconds, void *start, void *end) { return *milliseconds = 1.5f, SUCCESS; }
int cuEventDestroy(void *event) { return free(event), SUCCESS; }

int cuModuleLoadData(void **module, const void *image) {
  if (memcmp(image, "\x7f" "ELF", 4)) return INVALID_VALUE;
  return *module = malloc(1), SUCCESS;
}
int cuModuleUnload(void *module) { return free(module), SUCCESS; }
int cuModuleGetFunction(void **function, void *module, const char *name) {
  if (!strncmp(name, "lost", 4)) return NOT_FOUND;
  return *function = strdup(name), SUCCESS;
}
int cuFuncSetAttribute(void *function, int attribute, int value) {
  return attribute == 8 && value <= 163 << 10 ? (allowed = value, SUCCESS) : INVALID_VALUE;
}
static unsigned gives(const char *name) { return strcmp(name, "shift_wide") ? 0 : allowed; }
int cuLaunchKernel(void *function, unsigned gx, unsigned gy, unsigned gz, unsigned bx, unsigned by, unsigned bz,
                   unsigned shared, void *stream, void **parameters, void **extra) {
  Shift shift;
  if (gy * gz * by * bz != 1 || shared != gives(function) || !stream || extra) return INVALID_VALUE;
  const int status = of_kernel(&shift, function, gx, bx, parameters);
  if (!status) run(&shift);
  return status;
}

static int set(Shift *shift, const Node *node) {
  if (node->grid[1] * node->grid[2] * node->block[1] * node->block[2] != 1) return INVALID_VALUE;
  if (node->shared != gives(node->function)) return INVALID_VALUE;
  return of_kernel(shift, node->function, node->grid[0], node->block[0], node->parameters);
}
int cuGraphCreate(void **graph, unsigned flags) { return *graph = calloc(1, sizeof(Graph)), SUCCESS; }
int cuGraphAddKernelNode(void **made, Graph *graph, void **before, size_t count, const Node *node) {
  if (count != (graph->size > 0) || (count && before[0] != (void *)graph->size)) return INVALID_VALUE;
  const int status = set(&graph->nodes[graph->size], node);
  *made = (void *)++graph->size;
  return status;
}
int cuGraphInstantiate(void **exec, Graph *graph, uint64_t flags) {
  *exec = malloc(sizeof *graph);
  return memcpy(*exec, graph, sizeof *graph), SUCCESS;
}
int cuGraphExecKernelNodeSetParams(Graph *exec, void *made, const Node *node) {
  return set(&exec->nodes[(size_t)made - 1], node);
}
int cuGraphLaunch(Graph *exec, void *stream) {
  for (size_t n = 0; n < exec->size; n++) run(&exec->nodes[n]);
  return SUCCESS;
}
int cuGraphExecDestroy(void *exec) { return free(exec), SUCCESS; }
int cuGraphDestroy(void *graph) { return free(graph), SUCCESS; }

int cuGetErrorString(int error, const char **text) {
  return *text = error == INVALID_VALUE ? "invalid argument" : error == NOT_FOUND ? "named symbol not found" : "?", SUCCESS;
}

static const struct {
  const char *name;
  void *address;
} FUNCTIONS[] = {
#define F(name) {#name, (void *)name}
    F(cuInit), F(cuDriverGetVersion), F(cuDeviceGetCount), F(cuDeviceGet), F(cuDeviceGetName), F(cuDeviceTotalMem),
    F(cuDeviceGetAttribute), F(cuDevicePrimaryCtxRetain), F(cuCtxSetCurrent), F(cuMemGetInfo), F(cuMemAlloc),
    F(cuMemFree), F(cuMemHostAlloc), F(cuMemFreeHost), F(cuMemcpyHtoDAsync), F(cuMemcpyDtoHAsync), F(cuMemcpyDtoDAsync),
    F(cuStreamCreate), F(cuStreamSynchronize), F(cuEventCreate), F(cuEventRecord), F(cuEventSynchronize),
    F(cuEventElapsedTime), F(cuEventQuery), F(cuFuncSetAttribute), F(cuEventDestroy), F(cuModuleLoadData), F(cuModuleUnload), F(cuModuleGetFunction),
    F(cuLaunchKernel), F(cuGraphCreate), F(cuGraphAddKernelNode), F(cuGraphInstantiate),
    F(cuGraphExecKernelNodeSetParams), F(cuGraphLaunch), F(cuGraphExecDestroy), F(cuGraphDestroy), F(cuGetErrorString),
    {"cuGraphInstantiateWithFlags", (void *)cuGraphInstantiate},
};

int cuGetProcAddress_v2(const char *name, void **address, int version, uint64_t flags, int *status) {
  *address = NULL;
  for (size_t n = 0; n < sizeof FUNCTIONS / sizeof *FUNCTIONS; n++)
    if (!strcmp(FUNCTIONS[n].name, name)) *address = FUNCTIONS[n].address;
  if (status) *status = !*address;
  return *address ? SUCCESS : NOT_FOUND;
}
