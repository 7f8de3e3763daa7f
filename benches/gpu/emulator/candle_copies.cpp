// fill.cu, cast.cu and ternary.cu of candle, and the copy of unary.cu.
#include "candle.h"

namespace kiln {
namespace {

template <class T>
void fill(T *out, T value, size_t count) {
  for (size_t i = 0; i < count; i++) out[i] = value;
}

template <class T>
void copy2d(const T *in, T *out, uint32_t rows, uint32_t columns, uint32_t in_stride, uint32_t out_stride) {
  for (size_t i = 0; i < rows; i++)
    for (size_t j = 0; j < columns; j++) out[i * out_stride + j] = in[i * in_stride + j];
}

template <class T>
void const_set(size_t count, size_t rank, const size_t *info, T value, T *out) {
  Walk at(info, rank);
  for (size_t i = 0; i < count; i++) out[at.next()] = value;
}

template <class T>
void copy(size_t count, size_t rank, const size_t *info, const T *in, T *out) {
  Walk at(info, rank);
  for (size_t i = 0; i < count; i++) out[i] = in ? in[at.next()] : out[i];
}

template <class From, class To>
void cast(size_t count, size_t rank, const size_t *info, const From *in, To *out) {
  Walk at(info, rank);
  for (size_t i = 0; i < count; i++) out[i] = convert<To>(in[at.next()]);
}

template <class T, class I>
void where(size_t count, size_t rank, const size_t *info, const I *condition, const T *yes, const T *no, T *out) {
  Walk at(info, rank), at_yes(info, rank, 2), at_no(info, rank, 3);
  for (size_t i = 0; i < count; i++) {
    size_t taken = at_yes.next(), other = at_no.next();
    out[i] = condition[at.next()] ? yes[taken] : no[other];
  }
}

}  // namespace

void add_copies(Table &table) {
  each_type([&](std::string to, auto to_tag) {
    using T = typename decltype(to_tag)::type;
    table["fill_" + to] = Entry<fill<T>>::launch;
    table["copy2d_" + to] = Entry<copy2d<T>>::launch;
    table["const_set_" + to] = Entry<const_set<T>>::launch;
    table["ucopy_" + to] = Entry<copy<T>>::launch;
    each_index([&](std::string index, auto tag) {
      table["where_" + index + "_" + to] = Entry<where<T, typename decltype(tag)::type>>::launch;
    });
    each_type([&](std::string from, auto tag) {
      using F = typename decltype(tag)::type;
      // candle has none between these.
      if constexpr ((half<F> && std::is_same_v<T, int64_t>) || (half<T> && std::is_same_v<F, int64_t>)) return;
      else table["cast_" + from + "_" + to] = Entry<cast<F, T>>::launch;
    });
  });
}

Launch candle_kernel(const std::string &name) {
  static const Table table = [] {
    Table all;
    add_elementwise(all), add_copies(all), add_reductions(all), add_indexing(all), add_images(all);
    return all;
  }();
  auto found = table.find(name);
  return found == table.end() ? nullptr : found->second;
}

}  // namespace kiln
