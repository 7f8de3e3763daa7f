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
