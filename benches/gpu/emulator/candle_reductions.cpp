// reduce.cu of candle: over the trailing dimensions, which candle has moved there.
#include "candle.h"

namespace kiln {
namespace {

// A block adds as a tree; one sum from front to back in f32 would be less exact than that, and one in f64 is not.
template <class T>
using Sum = std::conditional_t<floating<T>, double, T>;

template <class T>
void sum(size_t outs, size_t each, size_t rank, const size_t *info, const T *in, T *out) {
  Walk at(info, rank);
  for (size_t o = 0; o < outs; o++) {
    Sum<T> total = 0;
    for (size_t i = 0; i < each; i++) total += Sum<T>(Wide<T>(in[at.next()]));
    out[o] = convert<T>(Wide<T>(total));
  }
}
// Of the two sums candle has, one is given the number of outputs and the other that of inputs.
template <class T>
void fast_sum(size_t count, size_t each, size_t rank, const size_t *info, const T *in, T *out) {
  sum(each ? count / each : 0, each, rank, info, in, out);
}

// The first of equals.
template <class T, bool MOST, class Out>
void extreme(size_t count, size_t each, size_t rank, const size_t *info, const T *in, Out *out) {
  Walk at(info, rank);
  for (size_t o = 0; o < count / each; o++) {
    size_t best = 0;
    Wide<T> value{}, last{};
    bool any = false;
    for (size_t i = 0; i < each; i++) {
      Wide<T> x = last = in[at.next()];
      if (x != x) continue;
      if (!any || (MOST ? x > value : x < value)) value = x, best = i;
      any = true;
    }
    if (!any) value = last;  // nothing but NaN
    if constexpr (std::is_same_v<Out, T>) out[o] = T(value);
    else out[o] = best;
  }
}
template <class T, bool MOST>
void arg(size_t count, size_t each, size_t rank, const size_t *info, const T *in, uint32_t *out) {
  struct Index { uint32_t value; Index &operator=(size_t to) { return value = uint32_t(to), *this; } };
  extreme<T, MOST>(count, each, rank, info, in, reinterpret_cast<Index *>(out));
}

}  // namespace

void add_reductions(Table &table) {
  each_type([&](std::string type, auto tag) {
    using T = typename decltype(tag)::type;
    table["fast_sum_" + type] = Entry<fast_sum<T>>::launch;
    table["fast_sum_small_" + type] = Entry<sum<T>>::launch;
    table["fast_max_" + type] = Entry<extreme<T, true, T>>::launch;
    table["fast_min_" + type] = Entry<extreme<T, false, T>>::launch;
    table["fast_argmax_" + type] = Entry<arg<T, true>>::launch;
    table["fast_argmin_" + type] = Entry<arg<T, false>>::launch;
  });
}

}  // namespace kiln
