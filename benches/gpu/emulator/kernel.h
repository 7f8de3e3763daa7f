// What stands in front of a kernel's source when it is compiled for the CPU: CUDA's words in C++. Only what nvrtc has without
// any header is here on purpose, and what it lacks is taken away again, so that a source that compiles here compiles there.
#pragma once
#include <assert.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <tuple>
#include <type_traits>

#include "abi.h"

#undef INFINITY
#undef NAN
#undef HUGE_VAL
#undef M_PI

#define KILN_EMULATED 1
#define __CUDACC__ 1
#define __CUDACC_RTC__ 1
#define __CUDA_ARCH__ 900
#define __global__
#define __device__
#define __host__
#define __constant__
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
// A section of their own, so that the driver can wipe them all before each block.
#define __shared__ static __attribute__((section("kiln_shared")))

typedef kiln::Index uint3;
typedef kiln::Index dim3;

static kiln::State kiln_state;
static const kiln::Runtime *kiln_runtime;
alignas(128) static unsigned char kiln_dynamic[232448 + 256];
// The linker makes these; there is none where no kernel has static shared memory.
extern "C" __attribute__((weak, visibility("hidden"))) unsigned char __start_kiln_shared[], __stop_kiln_shared[];
extern "C" __attribute__((visibility("default"))) const kiln::Module kiln_module;
const kiln::Module kiln_module = {&kiln_state, &kiln_runtime, __start_kiln_shared,
                                  size_t(__stop_kiln_shared - __start_kiln_shared), kiln_dynamic, sizeof kiln_dynamic};

#define threadIdx (kiln_state.thread)
#define blockIdx (kiln_state.block)
#define blockDim (kiln_state.block_dim)
#define gridDim (kiln_state.grid_dim)
#define warpSize 32

template <class T> static inline void kiln_argument(int index, T &to, void *from) {
  memcpy((void *)&to, from, sizeof to);
  if constexpr (std::is_pointer_v<T>) kiln_runtime->check(index, (const void *)to);
}
template <class... A, size_t... I>
static void kiln_start(void (*kernel)(A...), void **from, std::index_sequence<I...>) {
  struct Call {
    void (*kernel)(A...);
    std::tuple<std::remove_cv_t<A>...> arguments;
  } call{kernel, {}};
  (kiln_argument(I, std::get<I>(call.arguments), from[I]), ...);
  kiln_runtime->run([](void *data) { std::apply(((Call *)data)->kernel, ((Call *)data)->arguments); }, &call);
}
template <class... A> static void kiln_start(void (*kernel)(A...), void **from) {
  static_assert((std::is_trivially_copyable_v<A> && ...), "arguments are copied byte by byte");
  kiln_start(kernel, from, std::index_sequence_for<A...>());
}

// --- Barriers and exchanges. Macros, for the line that they stand in.
#define __syncthreads() kiln_runtime->barrier(__LINE__)
#define __syncwarp(...) kiln_syncwarp(__LINE__, ##__VA_ARGS__)
#define __shfl_sync(...) kiln_shuffle<0>(__LINE__, __VA_ARGS__)
#define __shfl_up_sync(...) kiln_shuffle<1>(__LINE__, __VA_ARGS__)
#define __shfl_down_sync(...) kiln_shuffle<2>(__LINE__, __VA_ARGS__)
#define __shfl_xor_sync(...) kiln_shuffle<3>(__LINE__, __VA_ARGS__)
#define __ballot_sync(mask, predicate) kiln_ballot(__LINE__, mask, predicate)
#define __any_sync(mask, predicate) (kiln_ballot(__LINE__, mask, predicate) != 0)
#define __all_sync(mask, predicate) (kiln_ballot(__LINE__, mask, !(predicate)) == 0)

static inline void kiln_syncwarp(int line, unsigned mask = ~0u) { kiln_runtime->exchange(line, mask, 0); }
template <int KIND, class T> static inline T kiln_shuffle(int line, unsigned mask, T value, unsigned by, int width = 32) {
  static_assert(sizeof(T) <= 8 && std::is_arithmetic_v<T>);
  unsigned long long bits = 0;
  memcpy(&bits, &value, sizeof value);
  const unsigned long long *all = kiln_runtime->exchange(line, mask, bits);
  unsigned lane = kiln_runtime->lane(), first = lane & ~(width - 1u), from;
  if (KIND == 0) from = first + (by & (width - 1u));
  if (KIND == 1) from = lane - first >= by ? lane - by : lane;
  if (KIND == 2) from = lane - first + by < unsigned(width) ? lane + by : lane;
  // As the hardware does it: into an earlier part of the warp is allowed, into a later one is not.
  if (KIND == 3) from = (lane ^ by) < first + width ? lane ^ by : lane;
  memcpy(&value, &all[from], sizeof value);
  return value;
}
static inline unsigned kiln_ballot(int line, unsigned mask, int predicate) {
  const unsigned long long *all = kiln_runtime->exchange(line, mask, predicate != 0);
  unsigned votes = 0;
  for (int i = 0; i < 32; i++) votes |= unsigned(all[i] == 1) << i;
  return votes;
}
template <class T> static inline T kiln_reduce(int line, unsigned mask, T value) {
  const unsigned long long *all = kiln_runtime->exchange(line, mask, (unsigned long long)value);
  T sum = 0;
  for (int i = 0; i < 32; i++)
    if (mask >> i & 1) sum += T(all[i]);
  return sum;
}
#define __reduce_add_sync(mask, value) kiln_reduce(__LINE__, mask, value)
static inline unsigned __activemask() { return ~0u; }
static inline void __threadfence() {}
static inline void __threadfence_block() {}
#define __nanosleep(n) ((void)(n))
#define __trap() abort()
#define __builtin_assume(condition) ((void)0)

// --- Atomics: threads take turns only where they wait.
template <class T> static inline T kiln_swap(T *at, T value) { T old = *at; *at = value; return old; }
#define KILN_ATOMIC(T)                                                                            \
  static inline T atomicAdd(T *at, T value) { return kiln_swap(at, (T)(*at + value)); }             \
  static inline T atomicExch(T *at, T value) { return kiln_swap(at, value); }
KILN_ATOMIC(int) KILN_ATOMIC(unsigned) KILN_ATOMIC(unsigned long long) KILN_ATOMIC(float) KILN_ATOMIC(double)
#define KILN_ATOMIC_INT(T)                                                                        \
  static inline T atomicSub(T *at, T value) { return kiln_swap(at, (T)(*at - value)); }             \
  static inline T atomicMax(T *at, T value) { return kiln_swap(at, *at > value ? *at : value); }  \
  static inline T atomicMin(T *at, T value) { return kiln_swap(at, *at < value ? *at : value); }  \
  static inline T atomicAnd(T *at, T value) { return kiln_swap(at, (T)(*at & value)); }             \
  static inline T atomicOr(T *at, T value) { return kiln_swap(at, (T)(*at | value)); }              \
  static inline T atomicCAS(T *at, T old, T value) { return kiln_swap(at, *at == old ? value : *at); }
KILN_ATOMIC_INT(int) KILN_ATOMIC_INT(unsigned) KILN_ATOMIC_INT(unsigned long long)

// --- Vectors, with CUDA's alignment: an access that is not aligned faults there.
#define KILN_VECTORS(T, N, A2, A4)                                                                \
  struct alignas(A2) N##2 { T x, y; };                                                            \
  struct N##3 { T x, y, z; };                                                                     \
  struct alignas(A4) N##4 { T x, y, z, w; };                                                      \
  static inline N##2 make_##N##2(T x, T y) { return {x, y}; }                                     \
  static inline N##3 make_##N##3(T x, T y, T z) { return {x, y, z}; }                             \
  static inline N##4 make_##N##4(T x, T y, T z, T w) { return {x, y, z, w}; }
#define uint3 kiln_own_uint3  // this one exists already
KILN_VECTORS(unsigned, uint, 8, 16)
#undef uint3
KILN_VECTORS(float, float, 8, 16) KILN_VECTORS(double, double, 16, 16) KILN_VECTORS(int, int, 8, 16)
KILN_VECTORS(unsigned short, ushort, 4, 8) KILN_VECTORS(short, short, 4, 8) KILN_VECTORS(unsigned char, uchar, 2, 4)
KILN_VECTORS(long long, longlong, 16, 16) KILN_VECTORS(unsigned long long, ulonglong, 16, 16)

// --- Numbers.
template <class A, class B> static inline std::common_type_t<A, B> min(A a, B b) {
  using C = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<C>) return fmin(C(a), C(b));
  else return C(a) < C(b) ? C(a) : C(b);
}
template <class A, class B> static inline std::common_type_t<A, B> max(A a, B b) {
  using C = std::common_type_t<A, B>;
  if constexpr (std::is_floating_point_v<C>) return fmax(C(a), C(b));
  else return C(a) > C(b) ? C(a) : C(b);
}
#define KILN_BITS(NAME, FROM, TO)                                                                 \
  static inline TO NAME(FROM from) { TO to; memcpy(&to, &from, sizeof to); return to; }
KILN_BITS(__float_as_uint, float, unsigned) KILN_BITS(__uint_as_float, unsigned, float)
KILN_BITS(__float_as_int, float, int) KILN_BITS(__int_as_float, int, float)
KILN_BITS(__double_as_longlong, double, long long) KILN_BITS(__longlong_as_double, long long, double)

template <class T> static inline T __ldg(const T *from) { return *from; }
template <class T> static inline T __ldcs(const T *from) { return *from; }
template <class T> static inline void __stcs(T *to, T value) { *to = value; }
static inline float rsqrtf(float x) { return 1 / sqrtf(x); }
static inline double rsqrt(double x) { return 1 / sqrt(x); }
static inline float rsqrt(float x) { return 1 / sqrtf(x); }
static inline float normcdff(float x) { return 0.5f * erfcf(-x * 0.70710678f); }
static inline double normcdf(double x) { return 0.5 * erfc(-x * 0.70710678118654752); }
static inline float __saturatef(float x) { return x > 0 ? (x < 1 ? x : 1) : 0; }
// glibc declares some of these names for itself: macros.
#define __expf(x) expf(x)
#define __exp10f(x) exp10f(x)
#define __logf(x) logf(x)
#define __log2f(x) log2f(x)
#define __log10f(x) log10f(x)
#define __powf(x, y) powf(x, y)
#define __sinf(x) sinf(x)
#define __cosf(x) cosf(x)
#define __tanf(x) tanf(x)
#define __fdividef(x, y) ((x) / (y))
#define __fadd_rn(x, y) ((x) + (y))
#define __fsub_rn(x, y) ((x) - (y))
#define __fmul_rn(x, y) ((x) * (y))
#define __fdiv_rn(x, y) ((x) / (y))
#define __fmaf_rn(x, y, z) fmaf(x, y, z)
#define __fsqrt_rn(x) sqrtf(x)
#define __frcp_rn(x) (1.0f / (x))
#define __frsqrt_rn(x) rsqrtf(x)
static inline int __float2int_rn(float x) { return int(rintf(x)); }
static inline int __float2int_rz(float x) { return int(x); }
static inline int __float2int_rd(float x) { return int(floorf(x)); }
static inline unsigned __float2uint_rn(float x) { return unsigned(rintf(x)); }
static inline float __int2float_rn(int x) { return float(x); }
static inline float __uint2float_rn(unsigned x) { return float(x); }
static inline int __popc(unsigned x) { return __builtin_popcount(x); }
static inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
static inline int __ffs(int x) { return __builtin_ffs(x); }
static inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned((unsigned long long)a * b >> 32); }
static inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
  return (unsigned long long)((unsigned __int128)a * b >> 64);
}
