// "Device" memory: the host's, with canaries around each allocation and a pattern in it that reads as NaN whatever the type,
// so that what a kernel forgot to write, or wrote or read outside, does not pass for a number.
#include <sys/mman.h>

#include <cstring>
#include <map>

#include "emulator.h"

namespace {

constexpr size_t BEFORE = 256, AFTER = 1024, PAGE = 4096;  // 256: the alignment that the real driver gives
// NaN as f16, bf16, f32 and f64, and unlike the filling.
constexpr uint16_t CANARY = 0xFFF7;
constexpr int FILLING = 0xFF;

struct Allocation {
  size_t size;
  size_t after = 0;     // bytes of the canary behind it
  void *base = nullptr;
  size_t mapped = 0;    // with a page behind it that is not to be touched
};
using Allocations = std::map<uintptr_t, Allocation>;

std::mutex lock;
// Never destroyed: a program may still free memory while it goes down.
Allocations &live = *new Allocations, &pinned = *new Allocations;
size_t used = 0, peak = 0;

size_t total() {
  const char *value = std::getenv("KILN_EMULATED_MEMORY");
  return value ? std::strtoull(value, nullptr, 10) : size_t(8) << 30;
}

void paint(unsigned char *start, size_t size, uint16_t value) {
  for (size_t i = 0; i < size; i++) start[i] = reinterpret_cast<const unsigned char *>(&value)[i % 2];
}

bool painted(const unsigned char *start, size_t size) {
  for (size_t i = 0; i < size; i++)
    if (start[i] != reinterpret_cast<const unsigned char *>(&CANARY)[i % 2]) return false;
  return true;
}

void inspect(uintptr_t pointer, const Allocation &of, const char *when) {
  auto *start = reinterpret_cast<unsigned char *>(pointer);
  bool before = painted(start - BEFORE, BEFORE), after = painted(start + of.size, of.after);
  if (!before || !after)
    kiln::fatal("%s: something was written %s an allocation of %zu bytes", when, before ? "behind" : "before", of.size);
}

// Ends at a page that faults, up to the 16 bytes that the widest access has to be aligned to: what a kernel reads behind it is
// found as well, at the price of two system calls.
bool map_guarded(Allocation &one, uintptr_t &pointer) {
  size_t tail = (one.size + 15) / 16 * 16, body = (BEFORE + tail + PAGE - 1) / PAGE * PAGE;
  one.mapped = body + PAGE;
  one.base = mmap(nullptr, one.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (one.base == MAP_FAILED) return false;
  mprotect(static_cast<unsigned char *>(one.base) + body, PAGE, PROT_NONE);
  pointer = reinterpret_cast<uintptr_t>(one.base) + body - tail;
  one.after = tail - one.size;
  return true;
}

bool map_plain(Allocation &one, uintptr_t &pointer) {
  one.base = std::aligned_alloc(256, (BEFORE + one.size + AFTER + 255) / 256 * 256);
  pointer = reinterpret_cast<uintptr_t>(one.base) + BEFORE;
  one.after = AFTER;
  return one.base;
}

Result allocate(uintptr_t *out, size_t size) {
  *out = 0;
  if (!size) return SUCCESS;
  std::lock_guard<std::mutex> guard(lock);
  if (size > total() || used + size > total()) return OUT_OF_MEMORY;
  Allocation one{size};
  if (!(kiln::setting("KILN_EMULATED_GUARD") ? map_guarded(one, *out) : map_plain(one, *out))) return OUT_OF_MEMORY;
  auto *start = reinterpret_cast<unsigned char *>(*out);
  paint(start - BEFORE, BEFORE, CANARY);
  std::memset(start, FILLING, size);
  paint(start + size, one.after, CANARY);
  live[*out] = one;
  used += size;
  if (used > peak) peak = used;
  return SUCCESS;
}

Result release(uintptr_t pointer) {
  if (!pointer) return SUCCESS;
  std::lock_guard<std::mutex> guard(lock);
  auto found = live.find(pointer);
  if (found == live.end()) return INVALID_VALUE;
  Allocation one = found->second;
  inspect(pointer, one, "when memory was freed");
  std::memset(reinterpret_cast<void *>(pointer), FILLING, one.size);
  if (one.mapped) munmap(one.base, one.mapped);
  else std::free(one.base);
  used -= one.size;
  live.erase(found);
  return SUCCESS;
}

// Whether [pointer, pointer + size) lies in one entry; a view may be empty and sit at the very end.
bool within(const Allocations &map, uintptr_t pointer, size_t size) {
  std::lock_guard<std::mutex> guard(lock);
  auto next = map.upper_bound(pointer);
  if (next == map.begin()) return false;
  size_t offset = pointer - std::prev(next)->first, length = std::prev(next)->second.size;
  return offset <= length && size <= length - offset;
}

bool device(uintptr_t pointer, size_t size) { return !size || within(live, pointer, size); }

struct Report {
  ~Report() {
    if (kiln::setting("KILN_EMULATED_STATS"))
      std::fprintf(stderr, "emulated GPU: %zu bytes at most, %zu bytes in %zu allocations never freed\n", peak, used,
                   live.size());
  }
} report;

}  // namespace

namespace kiln {

void check_canaries(const char *when) {
  std::lock_guard<std::mutex> guard(lock);
  for (auto &[pointer, one] : live) inspect(pointer, one, when);
}

void check_pointer(int index, const void *pointer) {
  if (pointer && !within(live, reinterpret_cast<uintptr_t>(pointer), 0))
    fatal("argument %d of kernel %s, %p, is not a pointer into the device's memory", index, running.c_str(), pointer);
}

}  // namespace kiln

// For the libraries that compute on device memory by themselves.
API void kiln_emulated_require(const char *who, const void *pointer, size_t size) {
  if (!device(reinterpret_cast<uintptr_t>(pointer), size))
    kiln::fatal("%s: %zu bytes from %p are not inside one allocation", who, size, pointer);
}

API Result cuMemAlloc_v2(uintptr_t *out, size_t size) { return size ? allocate(out, size) : INVALID_VALUE; }
API Result cuMemAllocAsync(uintptr_t *out, size_t size, void *) { return allocate(out, size); }
API Result cuMemFree_v2(uintptr_t pointer) { return release(pointer); }
API Result cuMemFreeAsync(uintptr_t pointer, void *) { return release(pointer); }
API Result cuMemAllocManaged(uintptr_t *, size_t, unsigned) { return NOT_SUPPORTED; }

API Result cuMemGetInfo_v2(size_t *free, size_t *all) {
  std::lock_guard<std::mutex> guard(lock);
  return *all = total(), *free = total() - used, SUCCESS;
}
API Result cuDeviceTotalMem_v2(size_t *bytes, int) { return *bytes = total(), SUCCESS; }

API Result cuMemHostAlloc(void **out, size_t size, unsigned) {
  *out = std::aligned_alloc(256, (size + 255) / 256 * 256 + 256);
  if (!*out) return OUT_OF_MEMORY;
  std::memset(*out, FILLING, size);
  std::lock_guard<std::mutex> guard(lock);
  return pinned[reinterpret_cast<uintptr_t>(*out)] = {size}, SUCCESS;
}
API Result cuMemFreeHost(void *pointer) {
  std::lock_guard<std::mutex> guard(lock);
  if (!pinned.erase(reinterpret_cast<uintptr_t>(pointer))) return INVALID_VALUE;
  return std::free(pointer), SUCCESS;
}

API Result cuMemsetD8_v2(uintptr_t pointer, unsigned char value, size_t size) {
  if (!device(pointer, size)) return INVALID_VALUE;
  return size ? (void)std::memset(reinterpret_cast<void *>(pointer), value, size) : void(), SUCCESS;
}
API Result cuMemsetD8Async(uintptr_t pointer, unsigned char value, size_t size, void *) {
  return cuMemsetD8_v2(pointer, value, size);
}
API Result cuMemsetD32_v2(uintptr_t pointer, unsigned value, size_t count) {
  if (!device(pointer, count * 4)) return INVALID_VALUE;
  for (size_t i = 0; i < count; i++) reinterpret_cast<unsigned *>(pointer)[i] = value;
  return SUCCESS;
}
API Result cuMemsetD32Async(uintptr_t pointer, unsigned value, size_t count, void *) {
  return cuMemsetD32_v2(pointer, value, count);
}

API Result cuMemcpyHtoD_v2(uintptr_t to, const void *from, size_t size) {
  if (!device(to, size)) return INVALID_VALUE;
  if (size) std::memcpy(reinterpret_cast<void *>(to), from, size);
  return SUCCESS;
}
API Result cuMemcpyHtoDAsync_v2(uintptr_t to, const void *from, size_t size, void *) {
  return cuMemcpyHtoD_v2(to, from, size);
}
API Result cuMemcpyDtoH_v2(void *to, uintptr_t from, size_t size) {
  kiln::count_sync();
  if (!device(from, size)) return INVALID_VALUE;
  if (size) std::memcpy(to, reinterpret_cast<void *>(from), size);
  return SUCCESS;
}
// Into memory that is not pinned the real driver waits as well, whatever the name says.
API Result cuMemcpyDtoHAsync_v2(void *to, uintptr_t from, size_t size, void *) {
  if (!within(pinned, reinterpret_cast<uintptr_t>(to), size)) return cuMemcpyDtoH_v2(to, from, size);
  if (!device(from, size)) return INVALID_VALUE;
  if (size) std::memcpy(to, reinterpret_cast<void *>(from), size);
  return SUCCESS;
}
API Result cuMemcpyDtoD_v2(uintptr_t to, uintptr_t from, size_t size) {
  if (!device(to, size) || !device(from, size)) return INVALID_VALUE;
  if (size) std::memmove(reinterpret_cast<void *>(to), reinterpret_cast<void *>(from), size);
  return SUCCESS;
}
API Result cuMemcpyDtoDAsync_v2(uintptr_t to, uintptr_t from, size_t size, void *) {
  return cuMemcpyDtoD_v2(to, from, size);
}
API Result cuMemcpyPeerAsync(uintptr_t to, void *, uintptr_t from, void *, size_t size, void *) {
  return cuMemcpyDtoD_v2(to, from, size);
}
