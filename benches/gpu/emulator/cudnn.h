// cuDNN's descriptors, and what its two files here know of each other. Numbers are those of its headers.
#pragma once
#include <cstddef>

namespace kiln::cudnn {

enum Status : int { SUCCESS = 0, BAD_PARAM = 2000, NOT_SUPPORTED = 3000 };
enum Type : int { F32 = 0, F64 = 1, F16 = 2, BF16 = 9 };
enum Format : int { NCHW = 0, NHWC = 1 };
enum Math : int { DEFAULT_MATH = 0, TENSOR_MATH = 1, CONVERSION_MATH = 2, FMA_MATH = 3 };
enum Direction { FORWARD, DATA, FILTER };
// Of the three directions.
enum Algorithm : int { IMPLICIT_GEMM = 0, PRECOMP_GEMM = 1, GEMM = 2, FFT = 4, ALGO_0 = 0, ALGO_1 = 1 };

struct Handle {
  void *stream = nullptr;
};

struct Tensor {
  bool set = false;
  Type type;
  int n, c, h, w;
  int stride[4];  // of n, c, h, w
  bool packed_nhwc() const {
    return stride[0] == c * h * w && stride[1] == 1 && stride[2] == w * c && stride[3] == c;
  }
  size_t count() const { return size_t(n) * c * h * w; }
};

struct Filter {
  bool set = false;
  Type type;
  Format format;
  int k, c, h, w;
  size_t count() const { return size_t(k) * c * h * w; }
};

struct Convolution {
  bool set = false, correlation;
  int pad[2], stride[2], groups;
  Math math;
  Type compute;
};

struct Operation {
  Tensor x, y;
  Filter w;
  Convolution c;
};

// cudnnConvolution*AlgoPerf_t.
struct Performance {
  int algorithm;
  Status status;
  float time;
  size_t memory;
  int repeats, math, reserved[3];
};

// out = alpha * the operation of a and b + beta * out, all packed; where `any_order` is set, sums come in another order each
// time. `memory` is overwritten.
void convolve(Direction direction, const Operation &of, const void *alpha, const void *beta, const void *a, const void *b,
              void *out, void *memory, size_t size, bool any_order);

}  // namespace kiln::cudnn
