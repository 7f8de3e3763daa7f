// Matrix products on the CPU: cuBLAS's columns-first layout, its checks of the arguments, and no thought of speed but that
// columns are read in order.
#include <algorithm>
#include <vector>

#include "numbers.h"

#define API extern "C" __attribute__((visibility("default")))

extern "C" void kiln_emulated_require(const char *who, const void *pointer, size_t size);
extern "C" void kiln_emulated_launched();

namespace {

using kiln::load;
using kiln::size_of;
using kiln::store;
using kiln::tf32;

enum Status { OK = 0, NOT_INITIALIZED = 1, INVALID = 7, UNSUPPORTED = 15 };
enum Type { F32 = 0, F64 = 1, F16 = 2, BF16 = 14 };
enum Compute { C16F = 64, C32F = 68, C64F = 70, FAST_16F = 74, FAST_BF16 = 75, FAST_TF32 = 77 };
constexpr int TF32_MATH = 3;

struct Handle {
  void *stream = nullptr;
  int pointers = 0, math = 0;
};

struct Matrix {
  const void *data;
  Type type;
  long long leading, stride;
};

// op(X) as columns, one after another.
template <class W>
void pack(std::vector<W> &out, const Matrix &from, long long batch, bool transposed, int rows, int columns, bool round) {
  out.resize(size_t(rows) * columns);
  size_t base = batch * from.stride;
  for (int j = 0; j < columns; j++)
    for (int i = 0; i < rows; i++) {
      W value = load<W>(from.data, from.type, base + (transposed ? i * from.leading + j : j * from.leading + i));
      if constexpr (std::is_same_v<W, float>)
        if (round) value = tf32(value);
      out[size_t(j) * rows + i] = value;
    }
}

template <class W>
void multiply(bool ta, bool tb, int m, int n, int k, W alpha, const Matrix &a, const Matrix &b, W beta, const Matrix &c,
              int batches, bool round) {
  std::vector<W> left, right, column(m);
  void *out = const_cast<void *>(c.data);
  for (int batch = 0; batch < batches; batch++) {
    if (!batch || a.stride) pack(left, a, batch, ta, m, k, round);
    if (!batch || b.stride) pack(right, b, batch, tb, k, n, round);
    for (int j = 0; j < n; j++) {
      std::fill(column.begin(), column.end(), W(0));
      int p = 0;
      for (; p + 4 <= k; p += 4) {
        const W *x = &left[size_t(p) * m], *y = x + m, *z = y + m, *w = z + m, *f = &right[size_t(j) * k + p];
        for (int i = 0; i < m; i++) column[i] += x[i] * f[0] + y[i] * f[1] + z[i] * f[2] + w[i] * f[3];
      }
      for (; p < k; p++) {
        const W *x = &left[size_t(p) * m], factor = right[size_t(j) * k + p];
        for (int i = 0; i < m; i++) column[i] += x[i] * factor;
      }
      size_t base = batch * c.stride + j * c.leading;
      for (int i = 0; i < m; i++) {
        // With beta 0 what was there is not read: it may be anything.
        W before = beta == W(0) ? W(0) : beta * load<W>(out, c.type, base + i);
        store(out, c.type, base + i, alpha * column[i] + before);
      }
    }
  }
}

void require(const char *who, const Matrix &of, int rows, int columns, int batches) {
  if (!rows || !columns) return;
  long long last = (batches - 1) * of.stride + (columns - 1) * of.leading + rows;
  kiln_emulated_require(who, of.data, last * size_of(of.type));
}

bool known(Type type) { return type == F32 || type == F64 || type == F16 || type == BF16; }

// Which types may meet, after the table of cublasGemmEx.
bool supported(Type a, Type b, Type c, int compute) {
  if (a != b || !known(a) || !known(c)) return false;
  switch (compute) {
    case C16F: case C16F + 1: return a == F16 && c == F16;
    case C32F: case C32F + 1: return a != F64 && (c == a || (c == F32 && a != F32));
    case C64F: case C64F + 1: return a == F64 && c == F64;
    case FAST_BF16: return (a == F32 && c == F32) || (a == BF16 && c == BF16);
    case FAST_16F: case FAST_TF32: return a == F32 && c == F32;
    default: return false;
  }
}

Status gemm(Handle *handle, int ta, int tb, int m, int n, int k, const void *alpha, Matrix a, Matrix b, const void *beta,
            Matrix c, int batches, int compute) {
  if (!handle) return NOT_INITIALIZED;
  if (ta < 0 || ta > 2 || tb < 0 || tb > 2 || m < 0 || n < 0 || k < 0 || batches < 0 || !alpha || !beta) return INVALID;
  if (a.leading < std::max(1, ta ? k : m) || b.leading < std::max(1, tb ? n : k) || c.leading < std::max(1, m)) return INVALID;
  if (!supported(a.type, b.type, c.type, compute)) return UNSUPPORTED;
  if (!m || !n || !batches) return OK;
  // Batches that are written over each other have no result that one could rely on.
  if (batches > 1 && c.stride < c.leading * (n - 1) + m) return INVALID;
  require("matrix A", a, ta ? k : m, ta ? m : k, batches);
  require("matrix B", b, tb ? n : k, tb ? k : n, batches);
  require("matrix C", c, m, n, batches);
  kiln_emulated_launched();
  if (compute == C64F || compute == C64F + 1) {
    multiply<double>(ta, tb, m, n, k, *static_cast<const double *>(alpha), a, b, *static_cast<const double *>(beta), c, batches,
                     false);
  } else {
    Type scalar = compute <= C16F + 1 ? F16 : F32;
    bool round = a.type == F32 && (compute == FAST_TF32 || handle->math == TF32_MATH);
    multiply<float>(ta, tb, m, n, k, load<float>(alpha, scalar, 0), a, b, load<float>(beta, scalar, 0), c, batches, round);
  }
  return OK;
}

}  // namespace

API Status cublasCreate_v2(Handle **handle) { return *handle = new Handle, OK; }
API Status cublasDestroy_v2(Handle *handle) { return delete handle, OK; }
API Status cublasGetVersion_v2(Handle *, int *version) { return *version = 130000, OK; }
API Status cublasSetStream_v2(Handle *handle, void *stream) { return handle->stream = stream, OK; }
API Status cublasGetStream_v2(Handle *handle, void **stream) { return *stream = handle->stream, OK; }
API Status cublasSetPointerMode_v2(Handle *handle, int mode) { return handle->pointers = mode, OK; }
API Status cublasGetPointerMode_v2(Handle *handle, int *mode) { return *mode = handle->pointers, OK; }
API Status cublasSetMathMode(Handle *handle, int mode) { return handle->math = mode, OK; }
API Status cublasGetMathMode(Handle *handle, int *mode) { return *mode = handle->math, OK; }
API Status cublasSetWorkspace_v2(Handle *, void *workspace, size_t size) {
  return kiln_emulated_require("cuBLAS's workspace", workspace, size), OK;
}

#define GEMM(NAME, T, TYPE, COMPUTE)                                                                                        \
  API Status cublas##NAME##gemm_v2(Handle *handle, int ta, int tb, int m, int n, int k, const T *alpha, const T *a, int lda, \
                                   const T *b, int ldb, const T *beta, T *c, int ldc) {                                     \
    return gemm(handle, ta, tb, m, n, k, alpha, {a, TYPE, lda, 0}, {b, TYPE, ldb, 0}, beta, {c, TYPE, ldc, 0}, 1, COMPUTE);  \
  }                                                                                                                         \
  API Status cublas##NAME##gemmStridedBatched(Handle *handle, int ta, int tb, int m, int n, int k, const T *alpha,          \
                                              const T *a, int lda, long long sa, const T *b, int ldb, long long sb,         \
                                              const T *beta, T *c, int ldc, long long sc, int batches) {                    \
    return gemm(handle, ta, tb, m, n, k, alpha, {a, TYPE, lda, sa}, {b, TYPE, ldb, sb}, beta, {c, TYPE, ldc, sc}, batches,   \
                COMPUTE);                                                                                                   \
  }
GEMM(S, float, F32, C32F)
GEMM(D, double, F64, C64F)

API Status cublasGemmEx(Handle *handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a, Type a_type,
                        int lda, const void *b, Type b_type, int ldb, const void *beta, void *c, Type c_type, int ldc,
                        int compute, int) {
  return gemm(handle, ta, tb, m, n, k, alpha, {a, a_type, lda, 0}, {b, b_type, ldb, 0}, beta, {c, c_type, ldc, 0}, 1, compute);
}
API Status cublasGemmStridedBatchedEx(Handle *handle, int ta, int tb, int m, int n, int k, const void *alpha, const void *a,
                                      Type a_type, int lda, long long sa, const void *b, Type b_type, int ldb, long long sb,
                                      const void *beta, void *c, Type c_type, int ldc, long long sc, int batches, int compute,
                                      int) {
  return gemm(handle, ta, tb, m, n, k, alpha, {a, a_type, lda, sa}, {b, b_type, ldb, sb}, beta, {c, c_type, ldc, sc}, batches,
              compute);
}
