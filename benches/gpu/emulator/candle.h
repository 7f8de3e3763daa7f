// candle's own kernels by name, with candle's argument lists. Each does its whole work at once, whatever the launch's shape:
// it is our kernels that are under test, not candle's.
#pragma once
#include <map>
#include <string>
#include <tuple>
#include <utility>

#include "emulator.h"
#include "numbers.h"

namespace kiln {

using Table = std::map<std::string, Launch>;

template <auto F>
struct Entry;
template <class... A, void (*F)(A...)>
struct Entry<F> {
  template <class T>
  static T argument(int index, void *from) {
    T value;
    std::memcpy(static_cast<void *>(&value), from, sizeof value);
    if constexpr (std::is_pointer_v<T>) check_pointer(index, value);
    return value;
  }
  template <size_t... I>
  static void call(void **from, std::index_sequence<I...>) {
    F(argument<A>(I, from[I])...);
  }
  static void launch(void **from) { call(from, std::index_sequence_for<A...>()); }
};

// Where element `index` in row-major order lies.
inline size_t strided(size_t index, size_t rank, const size_t *dims, const size_t *strides) {
  size_t out = 0;
  for (size_t d = rank; d-- > 0;) {
    out += index % dims[d] * strides[d];
    index /= dims[d];
  }
  return out;
}

// The same for one element after another, without a division for each dimension. `info` has the dims and then the strides of
// each operand; candle passes none where everything is contiguous.
class Walk {
 public:
  Walk(const size_t *info, size_t rank, size_t operand = 1) : rank_(rank), dims_(info), strides_(info + operand * rank) {
    if (rank > MOST) fatal("kernel %s: %zu dimensions", running.c_str(), rank);
    size_t expected = 1;
    for (size_t d = info ? rank : 0; d-- > 0; expected *= dims_[d]) contiguous_ &= dims_[d] <= 1 || strides_[d] == expected;
  }
  size_t next() {
    size_t here = offset_;
    if (contiguous_) return offset_++, here;
    for (size_t d = rank_; d-- > 0;) {
      offset_ += strides_[d];
      if (++index_[d] < dims_[d]) break;
      offset_ -= dims_[d] * strides_[d];
      index_[d] = 0;
    }
    return here;
  }

 private:
  static constexpr size_t MOST = 16;
  size_t rank_;
  const size_t *dims_, *strides_;
  bool contiguous_ = true;
  size_t offset_ = 0, index_[MOST] = {};
};

template <class T>
struct Type {
  using type = T;
};

// For each of the types that candle has kernels for: f(suffix, Type<T>()).
template <class F>
void each_float(F f) {
  f("f16", Type<f16>()), f("bf16", Type<bf16>()), f("f32", Type<float>()), f("f64", Type<double>());
}
template <class F>
void each_index(F f) {
  f("u8", Type<uint8_t>()), f("u32", Type<uint32_t>()), f("i64", Type<int64_t>());
}
template <class F>
void each_type(F f) {
  each_index(f), each_float(f);
}

void add_elementwise(Table &table);
void add_copies(Table &table);
void add_reductions(Table &table);
void add_indexing(Table &table);
void add_images(Table &table);

}  // namespace kiln
