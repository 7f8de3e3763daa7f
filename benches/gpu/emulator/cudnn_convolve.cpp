// The arithmetic of convolutions, with no thought of speed but that the innermost loop goes along adjacent numbers.
#include "cudnn.h"

#include <atomic>
#include <cstring>
#include <vector>

#include "emulator.h"
#include "numbers.h"

extern "C" void kiln_emulated_require(const char *who, const void *pointer, size_t size);
extern "C" void kiln_emulated_launched();

namespace kiln::cudnn {

namespace {

// Kernels of cuDNN load this much at once and do not look whether they may.
constexpr uintptr_t ALIGNMENT = 16;

// What the arithmetic leaves of a factor: of an f32 the ten bits of TF32, or half precision, where that is allowed.
template <class W>
W factor(W value, const Operation &of) {
  if constexpr (std::is_same_v<W, float>) {
    if (of.x.type != F32 || of.c.math == FMA_MATH) return value;
    if (of.c.math == CONVERSION_MATH) return float(f16(value));
    return tf32(value);
  }
  return value;
}

size_t at(const Tensor &t, int n, int h, int w, int c) {
  return size_t(n) * t.stride[0] + size_t(c) * t.stride[1] + size_t(h) * t.stride[2] + size_t(w) * t.stride[3];
}

// Where an element of a filter lies, and where in the order [k, h, w, c].
template <class Each>
void over(const Filter &f, Each each) {
  size_t i = 0;
  for (int k = 0; k < f.k; k++)
    for (int h = 0; h < f.h; h++)
      for (int w = 0; w < f.w; w++)
        for (int c = 0; c < f.c; c++, i++)
          each(f.format == NHWC ? i : ((size_t(k) * f.c + c) * f.h + h) * f.w + w, i);
}
// The same for [n, h, w, c].
template <class Each>
void over(const Tensor &t, Each each) {
  size_t i = 0;
  for (int n = 0; n < t.n; n++)
    for (int h = 0; h < t.h; h++)
      for (int w = 0; w < t.w; w++)
        for (int c = 0; c < t.c; c++, i++) each(at(t, n, h, w, c), i);
}

template <class W, class Shape>
std::vector<W> unpacked(const char *who, const Shape &shape, const void *data, const Operation &of) {
  if (reinterpret_cast<uintptr_t>(data) % ALIGNMENT) fatal("%s: %p is not aligned to %zu bytes", who, data, size_t(ALIGNMENT));
  kiln_emulated_require(who, data, shape.count() * size_of(shape.type));
  std::vector<W> out(shape.count());
  over(shape, [&](size_t from, size_t i) { out[i] = factor(load<W>(data, shape.type, from), of); });
  return out;
}

template <class W, class Shape>
void packed(const char *who, const Shape &shape, const std::vector<W> &sums, W alpha, W beta, void *data) {
  if (reinterpret_cast<uintptr_t>(data) % ALIGNMENT) fatal("%s: %p is not aligned to %zu bytes", who, data, size_t(ALIGNMENT));
  kiln_emulated_require(who, data, shape.count() * size_of(shape.type));
  over(shape, [&](size_t to, size_t i) {
    // With beta 0 what was there is not read.
    W before = beta == W(0) ? W(0) : beta * load<W>(data, shape.type, to);
    store(data, shape.type, to, alpha * sums[i] + before);
  });
}

// Every product of a patch: `each(large pixel, small pixel, tap)`, numbers of pixels in [n, h, w] and of taps in [h, w].
template <class Each>
void products(const Operation &of, bool backwards, Each each) {
  const Tensor &x = of.x, &y = of.y;
  size_t pixels = size_t(y.n) * y.h * y.w;
  for (size_t p = 0; p < pixels; p++) {
    size_t small = backwards ? pixels - 1 - p : p;
    int column = small % y.w, row = small / y.w % y.h, image = small / y.w / y.h;
    for (int i = 0; i < of.w.h; i++)
      for (int j = 0; j < of.w.w; j++) {
        int h = row * of.c.stride[0] + i - of.c.pad[0], w = column * of.c.stride[1] + j - of.c.pad[1];
        if (h < 0 || w < 0 || h >= x.h || w >= x.w) continue;
        each((size_t(image) * x.h + h) * x.w + w, small, size_t(i) * of.w.w + j);
      }
  }
}

template <class W>
void compute(Direction direction, const Operation &of, const void *alpha, const void *beta, const void *a, const void *b,
             void *out, bool backwards) {
  const int channels = of.w.c, outputs = of.w.k / of.c.groups, taps = of.w.h * of.w.w;
  W scale = *static_cast<const W *>(alpha), keep = *static_cast<const W *>(beta);
  auto groups = [&](auto each) {
    products(of, backwards, [&](size_t large, size_t small, size_t tap) {
      for (int g = 0; g < of.c.groups; g++)
        for (int k = g * outputs; k < (g + 1) * outputs; k++)
          each(large * of.x.c + g * channels, small * of.y.c + k, (size_t(k) * taps + tap) * channels);
    });
  };
  if (direction == FORWARD) {
    auto x = unpacked<W>("cuDNN's images", of.x, a, of), w = unpacked<W>("cuDNN's weights", of.w, b, of);
    std::vector<W> y(of.y.count());
    groups([&](size_t large, size_t small, size_t weight) {
      W sum = 0;
      for (int c = 0; c < channels; c++) sum += x[large + c] * w[weight + c];
      y[small] += sum;
    });
    packed("cuDNN's result", of.y, y, scale, keep, out);
  } else if (direction == DATA) {
    auto y = unpacked<W>("cuDNN's gradient", of.y, a, of), w = unpacked<W>("cuDNN's weights", of.w, b, of);
    std::vector<W> x(of.x.count());
    groups([&](size_t large, size_t small, size_t weight) {
      for (int c = 0; c < channels; c++) x[large + c] += y[small] * w[weight + c];
    });
    packed("cuDNN's gradient of images", of.x, x, scale, keep, out);
  } else {
    auto x = unpacked<W>("cuDNN's images", of.x, a, of), y = unpacked<W>("cuDNN's gradient", of.y, b, of);
    std::vector<W> w(of.w.count());
    groups([&](size_t large, size_t small, size_t weight) {
      for (int c = 0; c < channels; c++) w[weight + c] += y[small] * x[large + c];
    });
    packed("cuDNN's gradient of weights", of.w, w, scale, keep, out);
  }
}

}  // namespace

void convolve(Direction direction, const Operation &of, const void *alpha, const void *beta, const void *a, const void *b,
              void *out, void *memory, size_t size, bool any_order) {
  static std::atomic<unsigned> calls = 0;
  bool backwards = any_order && calls++ % 2;
  if (size) {
    kiln_emulated_require("cuDNN's workspace", memory, size);
    std::memset(memory, 0xFF, size);
  }
  kiln_emulated_launched();
  if (of.c.compute == F64) compute<double>(direction, of, alpha, beta, a, b, out, backwards);
  else compute<float>(direction, of, alpha, beta, a, b, out, backwards);
}

}  // namespace kiln::cudnn
