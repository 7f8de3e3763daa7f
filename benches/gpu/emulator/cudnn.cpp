// Convolutions on the CPU as cuDNN's version 9 has them: descriptors, heuristics, and the combinations of layouts, types and
// algorithms that it documents; what it documents as unsupported is refused. The arithmetic is in cudnn_convolve.cpp.
#include <cstdint>
#include <cstdlib>
#include <vector>

#include "cudnn.h"

#define API extern "C" __attribute__((visibility("default")))

using namespace kiln::cudnn;

namespace {

// What an algorithm is said to need, whatever the sizes: one of each kind more than anybody should be willing to give.
constexpr size_t NEEDS = 4096, NEEDS_A_LOT = size_t(8) << 30;

struct Way {
  int algorithm, math;
  bool supported, repeats;
  size_t memory;
};

// The heuristics' answers, with what must not be taken first: algorithms whose sums come in any order, arithmetic that was
// not asked for, memory that nobody has.
std::vector<Way> ways(Direction direction, const Operation &of) {
  std::vector<Way> out;
  bool tensor_cores = of.x.type == F32 || of.x.type == F16 || of.x.type == BF16;
  switch (direction) {
    case FORWARD:
      out = {{GEMM, DEFAULT_MATH, false, true, 0},
             {PRECOMP_GEMM, CONVERSION_MATH, tensor_cores, true, NEEDS},
             {FFT, of.c.math, of.w.format == NCHW, true, NEEDS_A_LOT},
             {PRECOMP_GEMM, tensor_cores ? TENSOR_MATH : DEFAULT_MATH, true, true, NEEDS},
             {IMPLICIT_GEMM, of.c.math, true, true, 0}};
      break;
    default:
      out = {{ALGO_0, of.c.math, true, false, 0},
             {ALGO_1, CONVERSION_MATH, tensor_cores, true, NEEDS},
             {ALGO_1, tensor_cores ? TENSOR_MATH : DEFAULT_MATH, true, true, NEEDS},
             {ALGO_1, of.c.math, true, true, 0}};
  }
  return out;
}

Status heuristics(Direction direction, const Handle *handle, const Operation *of, Status refused, int most, int *count,
                  Performance *out) {
  if (!handle || !count || !out || most < 1) return BAD_PARAM;
  if (refused) return refused;
  *count = 0;
  for (const Way &way : ways(direction, *of)) {
    if (*count == most) break;
    out[(*count)++] = {way.algorithm, way.supported ? SUCCESS : NOT_SUPPORTED, way.supported ? 1.f : -1.f, way.memory, way.repeats,
                       way.math, {0, 0, 0}};
  }
  return SUCCESS;
}

const Way *find(const std::vector<Way> &all, int algorithm, int math) {
  for (const Way &way : all)
    if (way.algorithm == algorithm && way.math == math) return &way;
  // Any algorithm may be run with less than it could have.
  for (const Way &way : all)
    if (way.algorithm == algorithm && way.supported) return &way;
  return nullptr;
}

Status workspace(Direction direction, const Operation &of, Status refused, int algorithm, size_t *size) {
  if (!size) return BAD_PARAM;
  if (refused) return refused;
  auto all = ways(direction, of);
  const Way *way = find(all, algorithm, of.c.math);
  if (!way || !way->supported) return NOT_SUPPORTED;
  return *size = way->memory, SUCCESS;
}

Status run(Direction direction, const Handle *handle, const Operation &of, Status refused, int algorithm, const void *alpha,
           const void *beta, const void *a, const void *b, void *out, void *memory, size_t size) {
  if (!handle || !alpha || !beta || !a || !b || !out) return BAD_PARAM;
  if (refused) return refused;
  auto all = ways(direction, of);
  const Way *way = find(all, algorithm, of.c.math);
  if (!way || !way->supported) return NOT_SUPPORTED;
  if (size < way->memory || (way->memory && !memory)) return BAD_PARAM;
  convolve(direction, of, alpha, beta, a, b, out, memory, way->memory, !way->repeats);
  return SUCCESS;
}

// Which types and layouts meet, after the tables of cudnnConvolutionForward, BackwardData and BackwardFilter.
Status prepare(const Tensor *x, const Filter *w, const Tensor *y, const Convolution *c, Operation *out) {
  if (!x || !w || !y || !c || !x->set || !w->set || !y->set || !c->set) return BAD_PARAM;
  // Cross-correlation of the sizes that the geometry leads to.
  if (x->n != y->n || w->c * c->groups != x->c || w->k != y->c || w->k % c->groups) return BAD_PARAM;
  int h = x->h + 2 * c->pad[0] - w->h, v = x->w + 2 * c->pad[1] - w->w;
  if (h < 0 || v < 0 || h / c->stride[0] + 1 != y->h || v / c->stride[1] + 1 != y->w) return BAD_PARAM;
  if (x->type != w->type || x->type != y->type || !c->correlation) return NOT_SUPPORTED;
  if (x->type == F64 ? c->compute != F64 : c->compute != F32) return NOT_SUPPORTED;
  if (w->format == NHWC) {
    if (!x->packed_nhwc() || !y->packed_nhwc()) return NOT_SUPPORTED;
    // To find mistakes in derivatives by differences, see README.md.
    if (x->type == F64 && !std::getenv("KILN_EMULATED_CUDNN_DOUBLE")) return NOT_SUPPORTED;
  }
  return *out = {*x, *y, *w, *c}, SUCCESS;
}

template <class T>
Status create(T **out) {
  return out ? *out = new T, SUCCESS : BAD_PARAM;
}
template <class T>
Status destroy(T *of) {
  return delete of, SUCCESS;
}

bool known(int type) { return type == F32 || type == F64 || type == F16 || type == BF16; }

}  // namespace

API size_t cudnnGetVersion() { return 90000; }
API Status cudnnCreate(Handle **out) { return create(out); }
API Status cudnnDestroy(Handle *handle) { return destroy(handle); }
API Status cudnnSetStream(Handle *handle, void *stream) {
  return handle ? handle->stream = stream, SUCCESS : BAD_PARAM;
}

API Status cudnnCreateTensorDescriptor(Tensor **out) { return create(out); }
API Status cudnnDestroyTensorDescriptor(Tensor *of) { return destroy(of); }
API Status cudnnSetTensor4dDescriptor(Tensor *of, int format, int type, int n, int c, int h, int w) {
  if (!of || !known(type) || n < 1 || c < 1 || h < 1 || w < 1 || (format != NCHW && format != NHWC)) return BAD_PARAM;
  // As the library's documentation has it: less than two giga elements.
  if (double(n) * c * h * w >= 2147483648.) return NOT_SUPPORTED;
  bool last = format == NHWC;
  *of = {true, Type(type), n, c, h, w, {c * h * w, last ? 1 : h * w, last ? w * c : w, last ? c : 1}};
  return SUCCESS;
}

API Status cudnnCreateFilterDescriptor(Filter **out) { return create(out); }
API Status cudnnDestroyFilterDescriptor(Filter *of) { return destroy(of); }
API Status cudnnSetFilter4dDescriptor(Filter *of, int type, int format, int k, int c, int h, int w) {
  if (!of || !known(type) || k < 1 || c < 1 || h < 1 || w < 1 || (format != NCHW && format != NHWC)) return BAD_PARAM;
  return *of = {true, Type(type), Format(format), k, c, h, w}, SUCCESS;
}

API Status cudnnCreateConvolutionDescriptor(Convolution **out) { return create(out); }
API Status cudnnDestroyConvolutionDescriptor(Convolution *of) { return destroy(of); }
API Status cudnnSetConvolution2dDescriptor(Convolution *of, int pad_h, int pad_w, int u, int v, int dilation_h, int dilation_w,
                                           int mode, int compute) {
  if (!of || pad_h < 0 || pad_w < 0 || u < 1 || v < 1 || mode < 0 || mode > 1 || !known(compute)) return BAD_PARAM;
  // None of the programs here have any.
  if (dilation_h != 1 || dilation_w != 1) return NOT_SUPPORTED;
  // The rest as cudnnCreateConvolutionDescriptor leaves it.
  return *of = {true, mode == 1, {pad_h, pad_w}, {u, v}, 1, DEFAULT_MATH, Type(compute)}, SUCCESS;
}
API Status cudnnSetConvolutionGroupCount(Convolution *of, int groups) {
  return of && groups > 0 ? of->groups = groups, SUCCESS : BAD_PARAM;
}
API Status cudnnSetConvolutionMathType(Convolution *of, int math) {
  return of && math >= DEFAULT_MATH && math <= FMA_MATH ? of->math = Math(math), SUCCESS : BAD_PARAM;
}

// The three operations have the same arguments in different orders.
#define OPERATION \
  Operation of;   \
  Status refused = prepare(x, w, y, c, &of)

API Status cudnnGetConvolutionForwardAlgorithm_v7(Handle *handle, Tensor *x, Filter *w, Convolution *c, Tensor *y, int most,
                                                  int *count, Performance *out) {
  OPERATION;
  return heuristics(FORWARD, handle, &of, refused, most, count, out);
}
API Status cudnnGetConvolutionBackwardDataAlgorithm_v7(Handle *handle, Filter *w, Tensor *y, Convolution *c, Tensor *x,
                                                       int most, int *count, Performance *out) {
  OPERATION;
  return heuristics(DATA, handle, &of, refused, most, count, out);
}
API Status cudnnGetConvolutionBackwardFilterAlgorithm_v7(Handle *handle, Tensor *x, Tensor *y, Convolution *c, Filter *w,
                                                         int most, int *count, Performance *out) {
  OPERATION;
  return heuristics(FILTER, handle, &of, refused, most, count, out);
}

API Status cudnnGetConvolutionForwardWorkspaceSize(Handle *, Tensor *x, Filter *w, Convolution *c, Tensor *y, int algorithm,
                                                   size_t *size) {
  OPERATION;
  return workspace(FORWARD, of, refused, algorithm, size);
}
API Status cudnnGetConvolutionBackwardDataWorkspaceSize(Handle *, Filter *w, Tensor *y, Convolution *c, Tensor *x,
                                                        int algorithm, size_t *size) {
  OPERATION;
  return workspace(DATA, of, refused, algorithm, size);
}
API Status cudnnGetConvolutionBackwardFilterWorkspaceSize(Handle *, Tensor *x, Tensor *y, Convolution *c, Filter *w,
                                                          int algorithm, size_t *size) {
  OPERATION;
  return workspace(FILTER, of, refused, algorithm, size);
}

API Status cudnnConvolutionForward(Handle *handle, const void *alpha, Tensor *x, const void *x_data, Filter *w,
                                   const void *w_data, Convolution *c, int algorithm, void *memory, size_t size,
                                   const void *beta, Tensor *y, void *y_data) {
  OPERATION;
  return run(FORWARD, handle, of, refused, algorithm, alpha, beta, x_data, w_data, y_data, memory, size);
}
API Status cudnnConvolutionBackwardData(Handle *handle, const void *alpha, Filter *w, const void *w_data, Tensor *y,
                                        const void *y_data, Convolution *c, int algorithm, void *memory, size_t size,
                                        const void *beta, Tensor *x, void *x_data) {
  OPERATION;
  return run(DATA, handle, of, refused, algorithm, alpha, beta, y_data, w_data, x_data, memory, size);
}
API Status cudnnConvolutionBackwardFilter(Handle *handle, const void *alpha, Tensor *x, const void *x_data, Tensor *y,
                                          const void *y_data, Convolution *c, int algorithm, void *memory, size_t size,
                                          const void *beta, Filter *w, void *w_data) {
  OPERATION;
  return run(FILTER, handle, of, refused, algorithm, alpha, beta, x_data, y_data, w_data, memory, size);
}
