// The number types that the libraries compute with, and what each is computed in.
#pragma once
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace kiln {

using f16 = _Float16;

struct bf16 {
  uint16_t bits;
  bf16() = default;
  bf16(float value) {
    uint32_t whole;
    std::memcpy(&whole, &value, 4);
    // To nearest, ties to even; a NaN stays one.
    bits = value != value ? 0x7FFF : (whole + 0x7FFF + (whole >> 16 & 1)) >> 16;
  }
  operator float() const {
    uint32_t whole = uint32_t(bits) << 16;
    float value;
    std::memcpy(&value, &whole, 4);
    return value;
  }
};

template <class T>
inline constexpr bool half = std::is_same_v<T, f16> || std::is_same_v<T, bf16>;
template <class T>
inline constexpr bool floating = half<T> || std::is_floating_point_v<T>;
template <class T>
using Wide = std::conditional_t<half<T>, float, T>;

// Elements in memory, by the numbers that all of CUDA's libraries have for their types: what is none of the first three is
// bf16, of which each has its own.
inline size_t size_of(int type) { return type == 1 ? 8 : type == 0 ? 4 : 2; }

template <class W>
W load(const void *data, int type, size_t i) {
  switch (type) {
    case 0: return W(static_cast<const float *>(data)[i]);
    case 1: return W(static_cast<const double *>(data)[i]);
    case 2: return W(static_cast<const f16 *>(data)[i]);
    default: return W(float(static_cast<const bf16 *>(data)[i]));
  }
}
template <class W>
void store(void *data, int type, size_t i, W value) {
  switch (type) {
    case 0: static_cast<float *>(data)[i] = float(value); break;
    case 1: static_cast<double *>(data)[i] = double(value); break;
    case 2: static_cast<f16 *>(data)[i] = f16(float(value)); break;
    default: static_cast<bf16 *>(data)[i] = bf16(float(value));
  }
}

// What is left of an f32 in a tensor core: ten bits of fraction.
inline float tf32(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, 4);
  if ((bits & 0x7F800000) != 0x7F800000) bits = (bits + 0x1000) & ~0x1FFFu;
  std::memcpy(&value, &bits, 4);
  return value;
}

// A GPU's conversions to integers saturate, and make 0 of NaN.
template <class To, class From>
To convert(From value) {
  if constexpr (floating<From> && std::is_integral_v<To>) {
    using I = std::conditional_t<std::is_same_v<To, int64_t>, int64_t, uint32_t>;
    double wide = double(Wide<From>(value));
    if (wide != wide) return 0;
    if (wide <= double(std::numeric_limits<I>::min())) return To(std::numeric_limits<I>::min());
    if (wide >= double(std::numeric_limits<I>::max())) return To(std::numeric_limits<I>::max());
    return To(I(wide));
  } else if constexpr (half<To>) {
    return To(float(value));
  } else {
    return To(value);
  }
}

}  // namespace kiln
