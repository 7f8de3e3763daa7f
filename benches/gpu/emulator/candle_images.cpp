// conv.cu of candle, in its own order of sums. "w" and "h" are named as they are there: for pools and the nearest neighbour,
// w is the dimension before the last.
#include "candle.h"

namespace kiln {
namespace {

// Where a window's tap lies in a dimension of `size`, or -1 in the padding.
long tap(size_t at, size_t stride, size_t offset, size_t dilation, size_t padding, size_t size) {
  size_t position = at * stride + offset * dilation;
  return position < padding || position >= size + padding ? -1 : long(position - padding);
}
// The same the other way round: which input a transposed convolution's output comes from.
long origin(size_t at, size_t stride, size_t offset, size_t dilation, size_t padding, size_t size) {
  long position = long(at + padding) - long(offset * dilation);
  if (position < 0 || position % long(stride) || position / long(stride) >= long(size)) return -1;
  return position / long(stride);
}

template <class T>
void im2col(size_t count, size_t h_out, size_t w_out, size_t h_k, size_t w_k, size_t stride, size_t padding, size_t dilation,
            const size_t *info, const T *in, T *out) {
  const size_t *s = info + 4;
  for (size_t i = 0; i < count; i++) {
    size_t x = i % w_k, y = i / w_k % h_k, c = i / (w_k * h_k) % info[1], pixel = i / (w_k * h_k * info[1]);
    long column = tap(pixel % w_out, stride, x, dilation, padding, info[3]);
    long row = tap(pixel / w_out % h_out, stride, y, dilation, padding, info[2]);
    size_t from = pixel / (w_out * h_out) * s[0] + c * s[1] + row * s[2] + column * s[3];
    out[i] = row < 0 || column < 0 ? T(0) : in[from];
  }
}

// Both directions: only the rule for the input's place and the kernel's first two dimensions differ.
template <class T, bool TRANSPOSED>
void convolve(size_t w_out, size_t h_out, size_t stride, size_t padding, size_t dilation, const size_t *info, const T *in,
              const T *kernel, T *out) {
  const size_t *s = info + 4, *k = info + 8, *ks = info + 12;
  size_t outs = k[TRANSPOSED ? 1 : 0], out_step = ks[TRANSPOSED ? 1 : 0], in_step = ks[TRANSPOSED ? 0 : 1];
  auto place = TRANSPOSED ? origin : tap;
  for (size_t i = 0; i < info[0] * outs * w_out * h_out; i++) {
    size_t x = i % w_out, y = i / w_out % h_out, c_out = i / (w_out * h_out) % outs, b = i / (w_out * h_out * outs);
    Wide<T> sum = 0;
    for (size_t kx = 0; kx < k[3]; kx++) {
      long column = place(x, stride, kx, dilation, padding, info[3]);
      if (column < 0) continue;
      for (size_t ky = 0; ky < k[2]; ky++) {
        long row = place(y, stride, ky, dilation, padding, info[2]);
        if (row < 0) continue;
        for (size_t c = 0; c < info[1]; c++)
          sum += Wide<T>(in[b * s[0] + c * s[1] + row * s[2] + column * s[3]]) *
                 Wide<T>(kernel[c_out * out_step + c * in_step + ky * ks[2] + kx * ks[3]]);
      }
    }
    out[i] = T(sum);
  }
}
template <class T>
void conv2d(size_t, size_t w_out, size_t h_out, size_t stride, size_t padding, size_t dilation, const size_t *info,
            const T *in, const T *kernel, T *out) {
  convolve<T, false>(w_out, h_out, stride, padding, dilation, info, in, kernel, out);
}
template <class T>
void conv_transpose2d(size_t, size_t w_out, size_t h_out, size_t stride, size_t padding, size_t, size_t dilation,
                      const size_t *info, const T *in, const T *kernel, T *out) {
  convolve<T, true>(w_out, h_out, stride, padding, dilation, info, in, kernel, out);
}

template <class T, bool MAX>
void pool2d(size_t, size_t w_k, size_t h_k, size_t w_stride, size_t h_stride, const size_t *info, const T *in, T *out) {
  const size_t *s = info + 4;
  size_t w_out = (info[2] - w_k) / w_stride + 1, h_out = (info[3] - h_k) / h_stride + 1;
  for (size_t i = 0; i < info[0] * info[1] * w_out * h_out; i++) {
    size_t h = i % h_out, w = i / h_out % w_out, c = i / (w_out * h_out) % info[1], b = i / (w_out * h_out * info[1]);
    Wide<T> value = 0;
    for (size_t x = 0; x < w_k; x++)
      for (size_t y = 0; y < h_k; y++) {
        Wide<T> one = in[b * s[0] + c * s[1] + (w * w_stride + x) * s[2] + (h * h_stride + y) * s[3]];
        value = !MAX ? value + one : (!x && !y) || one > value ? one : value;
      }
    out[i] = MAX ? T(value) : T(value * float(1.0 / (w_k * h_k)));
  }
}

template <class T>
void upsample_nearest2d(size_t w_out, size_t h_out, double w_scale, double h_scale, const size_t *info, const T *in, T *out) {
  const size_t *s = info + 4;
  for (size_t i = 0; i < info[0] * info[1] * w_out * h_out; i++) {
    size_t c = i / (w_out * h_out) % info[1], b = i / (w_out * h_out * info[1]);
    size_t w = std::min(size_t(i / h_out % w_out * w_scale), info[2] - 1), h = std::min(size_t(i % h_out * h_scale), info[3] - 1);
    out[i] = in[b * s[0] + c * s[1] + w * s[2] + h * s[3]];
  }
}

}  // namespace

void add_images(Table &table) {
  each_type([&](std::string type, auto tag) {
    using T = typename decltype(tag)::type;
    if constexpr (std::is_same_v<T, int64_t>) return;
    else {
      table["im2col_" + type] = Entry<im2col<T>>::launch;
      table["conv2d_" + type] = Entry<conv2d<T>>::launch;
      table["conv_transpose2d_" + type] = Entry<conv_transpose2d<T>>::launch;
      table["avg_pool2d_" + type] = Entry<pool2d<T, false>>::launch;
      table["max_pool2d_" + type] = Entry<pool2d<T, true>>::launch;
      table["upsample_nearest2d_" + type] = Entry<upsample_nearest2d<T>>::launch;
    }
  });
}

}  // namespace kiln
