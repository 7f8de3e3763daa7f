// The device, its contexts, streams and events. Everything has happened by the time a call returns, so that streams and
// events have nothing to do but to be counted.
#include <atomic>
#include <chrono>
#include <cstring>

#include "emulator.h"

namespace {

std::atomic<unsigned long long> launches{0}, syncs{0};
thread_local void *current = nullptr;
int primary;  // its address is the primary context

struct Event {
  bool timed;
  bool recorded = false;
  std::chrono::steady_clock::time_point time{};
};

struct Named {
  int code;
  const char *name, *text;
};
const Named errors[] = {
    {SUCCESS, "CUDA_SUCCESS", "no error"},
    {INVALID_VALUE, "CUDA_ERROR_INVALID_VALUE", "invalid argument"},
    {OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY", "out of memory"},
    {NOT_INITIALIZED, "CUDA_ERROR_NOT_INITIALIZED", "initialization error"},
    {INVALID_DEVICE, "CUDA_ERROR_INVALID_DEVICE", "invalid device ordinal"},
    {INVALID_IMAGE, "CUDA_ERROR_INVALID_IMAGE", "device kernel image is invalid"},
    {INVALID_CONTEXT, "CUDA_ERROR_INVALID_CONTEXT", "invalid device context"},
    {INVALID_HANDLE, "CUDA_ERROR_INVALID_HANDLE", "invalid resource handle"},
    {NOT_FOUND, "CUDA_ERROR_NOT_FOUND", "named symbol not found"},
    {LAUNCH_OUT_OF_RESOURCES, "CUDA_ERROR_LAUNCH_OUT_OF_RESOURCES", "too many resources requested for launch"},
    {NOT_SUPPORTED, "CUDA_ERROR_NOT_SUPPORTED", "operation not supported"},
};

Result describe(int code, const char **out, const char *Named::*field) {
  for (const Named &error : errors)
    if (error.code == code) return *out = error.*field, SUCCESS;
  return *out = nullptr, INVALID_VALUE;
}

// Counts are printed when the library goes, which is after main.
struct Statistics {
  ~Statistics() {
    if (kiln::setting("KILN_EMULATED_STATS"))
      std::fprintf(stderr, "emulated GPU: %llu launches, %llu synchronisations\n", launches.load(), syncs.load());
  }
} statistics;

}  // namespace

namespace kiln {
void count_launch() { ++launches; }
void count_sync() { ++syncs; }
}  // namespace kiln

// For the libraries that launch by themselves.
API void kiln_emulated_launched() { kiln::count_launch(); }
API unsigned long long kiln_emulated_launches() { return launches; }
API unsigned long long kiln_emulated_syncs() { return syncs; }

API Result cuInit(unsigned) { return SUCCESS; }
API Result cuDriverGetVersion(int *version) { return *version = 13000, SUCCESS; }
API Result cuGetErrorName(int code, const char **out) { return describe(code, out, &Named::name); }
API Result cuGetErrorString(int code, const char **out) { return describe(code, out, &Named::text); }

API Result cuDeviceGetCount(int *count) { return *count = 1, SUCCESS; }
API Result cuDeviceGet(int *device, int ordinal) {
  if (ordinal != 0) return INVALID_DEVICE;
  return *device = 0, SUCCESS;
}
API Result cuDeviceGetName(char *out, int size, int) {
  return std::snprintf(out, size, "Kiln's emulated GPU"), SUCCESS;
}
API Result cuDeviceGetUuid_v2(char *out, int) { return std::memset(out, 0, 16), SUCCESS; }
API Result cuDeviceGetUuid(char *out, int device) { return cuDeviceGetUuid_v2(out, device); }

// A Hopper card's numbers, which is what our kernels are written for; what is not listed is zero, a feature that is absent.
API Result cuDeviceGetAttribute(int *out, int attribute, int) {
  switch (attribute) {
    case 1: *out = 1024; break;         // threads per block
    case 2: case 3: *out = 1024; break;
    case 4: *out = 64; break;
    case 5: *out = 2147483647; break;
    case 6: case 7: *out = 65535; break;
    case 8: *out = 49152; break;        // shared memory per block
    case 9: *out = 65536; break;
    case 10: *out = 32; break;          // warp
    case 12: case 82: *out = 65536; break;  // registers
    case 16: *out = 132; break;         // multiprocessors
    case 38: *out = 50 << 20; break;    // L2
    case 39: *out = 2048; break;        // threads per multiprocessor
    case 41: *out = 1; break;           // unified addressing
    case 75: *out = 9; break;           // compute capability
    case 76: *out = 0; break;
    case 81: *out = 233472; break;
    case 97: *out = 232448; break;      // shared memory per block, opted in
    case 106: *out = 32; break;         // blocks per multiprocessor
    case 111: *out = 1024; break;
    case 115: *out = 1; break;          // memory pools: cudarc allocates asynchronously
    default: *out = 0;
  }
  return SUCCESS;
}

API Result cuDevicePrimaryCtxRetain(void **context, int) { return *context = &primary, SUCCESS; }
API Result cuDevicePrimaryCtxRelease_v2(int) { return SUCCESS; }
API Result cuCtxGetCurrent(void **context) { return *context = current, SUCCESS; }
API Result cuCtxSetCurrent(void *context) { return current = context, SUCCESS; }
API Result cuCtxSetFlags(unsigned) { return SUCCESS; }
API Result cuCtxGetDevice(int *device) { return *device = 0, SUCCESS; }
API Result cuCtxSetLimit(int, size_t) { return SUCCESS; }
API Result cuCtxGetLimit(size_t *value, int) { return *value = 1024, SUCCESS; }
API Result cuCtxSetCacheConfig(int) { return SUCCESS; }
API Result cuCtxGetCacheConfig(int *config) { return *config = 0, SUCCESS; }
API Result cuCtxGetStreamPriorityRange(int *least, int *greatest) { return *least = 0, *greatest = -5, SUCCESS; }
API Result cuCtxSynchronize() {
  if (!current) return INVALID_CONTEXT;
  return kiln::count_sync(), SUCCESS;
}

API Result cuStreamCreate(void **stream, unsigned) { return *stream = new char, SUCCESS; }
API Result cuStreamCreateWithPriority(void **stream, unsigned, int) { return *stream = new char, SUCCESS; }
API Result cuStreamDestroy_v2(void *stream) { return delete static_cast<char *>(stream), SUCCESS; }
API Result cuStreamSynchronize(void *) { return kiln::count_sync(), SUCCESS; }
API Result cuStreamQuery(void *) { return SUCCESS; }
API Result cuStreamWaitEvent(void *, Event *event, unsigned) { return event ? SUCCESS : INVALID_HANDLE; }
API Result cuStreamIsCapturing(void *, int *status) { return *status = 0, SUCCESS; }
API Result cuLaunchHostFunc(void *, void (*function)(void *), void *data) { return function(data), SUCCESS; }

API Result cuEventCreate(Event **event, unsigned flags) { return *event = new Event{!(flags & 2)}, SUCCESS; }
API Result cuEventDestroy_v2(Event *event) { return delete event, SUCCESS; }
API Result cuEventRecord(Event *event, void *) {
  if (!event) return INVALID_HANDLE;
  event->recorded = true;
  event->time = std::chrono::steady_clock::now();
  return SUCCESS;
}
API Result cuEventQuery(Event *event) { return event ? SUCCESS : INVALID_HANDLE; }
API Result cuEventSynchronize(Event *event) {
  if (!event) return INVALID_HANDLE;
  return kiln::count_sync(), SUCCESS;
}
API Result cuEventElapsedTime_v2(float *milliseconds, Event *start, Event *end) {
  if (!start || !end || !start->timed || !end->timed || !start->recorded || !end->recorded) return INVALID_HANDLE;
  *milliseconds = std::chrono::duration<float, std::milli>(end->time - start->time).count();
  return SUCCESS;
}
API Result cuEventElapsedTime(float *milliseconds, Event *start, Event *end) {
  return cuEventElapsedTime_v2(milliseconds, start, end);
}

// Recorded graphs would need work that is put off; a caller has to have a way without them.
API Result cuStreamBeginCapture_v2(void *, int) { return NOT_SUPPORTED; }
API Result cuStreamEndCapture(void *, void **) { return NOT_SUPPORTED; }
API Result cuGraphInstantiateWithFlags(void **, void *, unsigned long long) { return NOT_SUPPORTED; }
API Result cuGraphLaunch(void *, void *) { return NOT_SUPPORTED; }
API Result cuGraphUpload(void *, void *) { return NOT_SUPPORTED; }
API Result cuGraphDestroy(void *) { return NOT_SUPPORTED; }
API Result cuGraphExecDestroy(void *) { return NOT_SUPPORTED; }
API Result cuProfilerStart() { return SUCCESS; }
API Result cuProfilerStop() { return SUCCESS; }
