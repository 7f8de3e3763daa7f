// What every module begins with. One of KILN_F32, KILN_F64, KILN_F16 and KILN_BF16 is defined before it:
// T is the type of elements in memory, A that of arithmetic, of biases and of gradients of weights.
//
// No header is included: a machine with a driver and nvrtc need not have any. KILN_EMULATED is defined where the kernels are
// compiled for the processor, which has no PTX.

#if defined(KILN_F64)
typedef double T;
typedef double A;
#else
typedef float A;
#endif

#if defined(KILN_F32)
typedef float T;
#endif

#if defined(KILN_F32) || defined(KILN_F64)
__device__ __forceinline__ A get(T x) { return x; }
__device__ __forceinline__ T put(A x) { return x; }
#endif

#if defined(KILN_BF16)
typedef unsigned short T;
__device__ __forceinline__ A get(T x) { return __uint_as_float((unsigned)x << 16); }
__device__ __forceinline__ T put(A x) {
    unsigned bits = __float_as_uint(x);
    // A NaN whose payload is cut off would become an infinity.
    if ((bits & 0x7fffffffu) > 0x7f800000u) return (T)(bits >> 16 | 0x40u);
    return (T)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
#endif

#if defined(KILN_F16)
typedef unsigned short T;
#if defined(KILN_EMULATED)
__device__ __forceinline__ A get(T x) { _Float16 h; __builtin_memcpy(&h, &x, 2); return (float)h; }
__device__ __forceinline__ T put(A x) { _Float16 h = (_Float16)x; T bits; __builtin_memcpy(&bits, &h, 2); return bits; }
#else
__device__ __forceinline__ A get(T x) { A wide; asm("cvt.f32.f16 %0, %1;" : "=f"(wide) : "h"(x)); return wide; }
__device__ __forceinline__ T put(A x) { T bits; asm("cvt.rn.f16.f32 %0, %1;" : "=h"(bits) : "f"(x)); return bits; }
#endif
#endif

// N neighbouring elements, moved as one word where they are aligned.
template <int N> struct alignas(N * sizeof(T)) Pack { T at[N]; };

// Elements are handled by as many threads as there are, in a loop.
#define FOR_EACH(i, n) \
    for (unsigned i = blockIdx.x * blockDim.x + threadIdx.x; i < (n); i += gridDim.x * blockDim.x)

__device__ __forceinline__ A logistic(A x) {
    // exp never overflows in either form.
    A e = exp(x < 0 ? x : -x);
    return (x < 0 ? e : (A)1) / (1 + e);
}
__device__ __forceinline__ A logistic_slope(A x) {
    A e = exp(x < 0 ? x : -x);
    return e / ((1 + e) * (1 + e));
}
// In these forms a NaN stays one.
__device__ __forceinline__ A softplus(A x) { return (x < 0 ? (A)0 : x) + log1p(exp(x < 0 ? x : -x)); }
__device__ __forceinline__ A leaky(A x, A slope) { return x < 0 ? slope * x : x; }

// Activations by the number that the launching code has for them.
enum { NONE = 0, LEAKY_RELU = 1, TANH = 2 };
__device__ __forceinline__ A activate(A x, int activation, A slope) {
    if (activation == LEAKY_RELU) return leaky(x, slope);
    if (activation == TANH) return tanh(x);
    return x;
}
// The gradient before an activation from its argument and the gradient after it.
__device__ __forceinline__ A before(A x, A g, int activation, A slope) {
    if (activation == LEAKY_RELU) return x > 0 ? g : slope * g;
    if (activation == TANH) { A y = tanh(x); return g * (1 - y * y); }
    return g;
}

// The sum over a block's threads, in one order; all threads get it. `shared` holds one number a thread, the number of
// threads is a power of two.
__device__ __forceinline__ double block_sum(double value, double* shared) {
    __syncthreads();
    shared[threadIdx.x] = value;
    for (unsigned half = blockDim.x / 2; half > 0; half /= 2) {
        __syncthreads();
        if (threadIdx.x < half) shared[threadIdx.x] += shared[threadIdx.x + half];
    }
    __syncthreads();
    return shared[0];
}
