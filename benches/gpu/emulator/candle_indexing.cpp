// indexing.cu of candle. An index that is the type's greatest value means "none": zeros are read, nothing is written.
#include "candle.h"

namespace kiln {
namespace {

template <class I>
bool none(I index) {
  return index == std::numeric_limits<I>::max();
}
template <class I>
size_t inside(I index, size_t size) {
  if (size_t(index) >= size) fatal("kernel %s: index %lld of %zu", running.c_str(), (long long)index, size);
  return size_t(index);
}

template <class T, class I>
void select(size_t count, size_t rank, const size_t *info, const I *ids, const T *in, T *out, size_t, size_t in_size,
            size_t ids_size, size_t right) {
  // As candle's kernel has it: the strides are the ids', and are used on the input where they are not contiguous.
  size_t expected = 1;
  bool contiguous = true;
  for (size_t d = rank; d-- > 0; expected *= info[d]) contiguous &= info[d] <= 1 || info[rank + d] == expected;
  for (size_t i = 0; i < count; i++) {
    size_t left = i / (ids_size * right), which = i / right % ids_size;
    if (none(ids[which])) {
      out[i] = T(0);
      continue;
    }
    size_t from = (left * in_size + inside(ids[which], in_size)) * right + i % right;
    out[i] = in[contiguous ? from : strided(from, rank, info, info + rank)];
  }
}

template <class T, class I>
void gather(size_t count, const I *ids, const T *in, T *out, size_t, size_t in_size, size_t ids_size, size_t right) {
  for (size_t i = 0; i < count; i++) {
    size_t left = i / (right * ids_size);
    out[i] = none(ids[i]) ? T(0) : in[(left * in_size + inside(ids[i], in_size)) * right + i % right];
  }
}

template <class T, class I>
void index_add(const I *ids, size_t ids_size, const T *in, T *out, size_t left, size_t, size_t out_size, size_t right) {
  for (size_t i = 0; i < left * right; i++)
    for (size_t j = 0; j < ids_size; j++) {
      if (none(ids[j])) continue;
      T &to = out[(i / right * out_size + inside(ids[j], out_size)) * right + i % right];
      to = T(Wide<T>(to) + Wide<T>(in[(i / right * ids_size + j) * right + i % right]));
    }
}

template <class T, class I, bool ADD>
void scatter(const I *ids, const T *in, T *out, size_t left, size_t in_size, size_t out_size, size_t right) {
  for (size_t i = 0; i < left * right; i++)
    for (size_t j = 0; j < in_size; j++) {
      size_t from = (i / right * in_size + j) * right + i % right;
      if (none(ids[from])) continue;
      T &to = out[(i / right * out_size + inside(ids[from], out_size)) * right + i % right];
      to = ADD ? T(Wide<T>(to) + Wide<T>(in[from])) : in[from];
    }
}

}  // namespace

void add_indexing(Table &table) {
  each_index([&](std::string index, auto index_tag) {
    using I = typename decltype(index_tag)::type;
    each_type([&](std::string type, auto tag) {
      using T = typename decltype(tag)::type;
      std::string suffix = index + "_" + type;
      table["is_" + suffix] = Entry<select<T, I>>::launch;
      table["gather_" + suffix] = Entry<gather<T, I>>::launch;
      table["ia_" + suffix] = Entry<index_add<T, I>>::launch;
      table["s_" + suffix] = Entry<scatter<T, I, false>>::launch;
      table["sa_" + suffix] = Entry<scatter<T, I, true>>::launch;
    });
  });
}

}  // namespace kiln
