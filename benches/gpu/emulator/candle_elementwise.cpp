// unary.cu, binary.cu and affine.cu of candle.
#include "candle.h"

namespace kiln {
namespace {

template <class W> W maximum(W a, W b, bool nan) { return nan && (a != a || b != b) ? a + b : std::fmax(a, b); }

// f16 and bf16 keep a NaN, f32 and f64 lose it: __hmax_nan against fmaxf.
template <class T> struct Maximum {
  static T of(Wide<T> a, Wide<T> b) {
    if constexpr (floating<T>) return T(maximum(a, b, half<T>));
    else return a > b ? a : b;
  }
};
template <class T> struct Minimum {
  static T of(Wide<T> a, Wide<T> b) {
    if constexpr (floating<T>) return T(-maximum(-a, -b, half<T>));
    else return a < b ? a : b;
  }
};
template <class T> struct Add { static T of(Wide<T> a, Wide<T> b) { return T(a + b); } };
template <class T> struct Sub { static T of(Wide<T> a, Wide<T> b) { return T(a - b); } };
template <class T> struct Mul { static T of(Wide<T> a, Wide<T> b) { return T(a * b); } };
template <class T> struct Div {
  static T of(Wide<T> a, Wide<T> b) {
    if constexpr (!floating<T>) return b ? a / b : T(-1);
    else return T(a / b);
  }
};
template <class T> struct Eq { static uint8_t of(Wide<T> a, Wide<T> b) { return a == b; } };
template <class T> struct Ne { static uint8_t of(Wide<T> a, Wide<T> b) { return a != b; } };
template <class T> struct Lt { static uint8_t of(Wide<T> a, Wide<T> b) { return a < b; } };
template <class T> struct Le { static uint8_t of(Wide<T> a, Wide<T> b) { return a <= b; } };
template <class T> struct Gt { static uint8_t of(Wide<T> a, Wide<T> b) { return a > b; } };
template <class T> struct Ge { static uint8_t of(Wide<T> a, Wide<T> b) { return a >= b; } };

template <class T, class Out, class Op>
void binary(size_t count, size_t rank, const size_t *info, const T *a, const T *b, Out *out) {
  Walk first(info, rank), second(info, rank, 2);
  for (size_t i = 0; i < count; i++) out[i] = Op::of(a[first.next()], b[second.next()]);
}

template <class T> T sign(T x) { return T(x > 0) - T(x < 0); }
template <class W> W erf_gelu(W x) { return x * W(0.5) * std::erfc(-x * W(M_SQRT1_2)); }
template <class W> W gelu(W x) { return W(0.5) * x * (1 + std::tanh(W(M_2_SQRTPI * M_SQRT1_2) * (x + W(0.044715) * x * x * x))); }

#define OP(NAME, EXPRESSION) \
  struct NAME { template <class W> static W of(W x) { return EXPRESSION; } };
OP(Neg, -x) OP(Recip, 1 / x) OP(Exp, std::exp(x)) OP(Log, std::log(x)) OP(Sin, std::sin(x)) OP(Cos, std::cos(x))
OP(Tanh, std::tanh(x)) OP(Erf, std::erf(x)) OP(Ceil, std::ceil(x)) OP(Floor, std::floor(x)) OP(Round, std::round(x))
OP(Abs, std::fabs(x)) OP(Sqr, x * x) OP(Sqrt, std::sqrt(x)) OP(Gelu, gelu(x)) OP(GeluErf, erf_gelu(x))
OP(Silu, x / (1 + std::exp(-x))) OP(Sigmoid, 1 / (1 + std::exp(-x))) OP(Sign, sign(x))
OP(NormCdf, W(0.5) * std::erfc(-x * W(M_SQRT1_2)))
#undef OP
template <class T> struct Relu { static Wide<T> of(Wide<T> x) { return Maximum<T>::of(x, 0); } };

template <class T, class Op>
void unary(size_t count, size_t rank, const size_t *info, const T *in, T *out) {
  Walk at(info, rank);
  for (size_t i = 0; i < count; i++)
    out[i] = T(Op::of(Wide<T>(in ? in[at.next()] : out[i])));
}

template <class W> W elu(W x, W alpha) { return x > 0 ? x : alpha * (std::exp(x) - 1); }
struct Elu { template <class W> static W of(W x, W alpha) { return elu(x, alpha); } };
struct Powf { template <class W> static W of(W x, W power) { return std::pow(x, power); } };

template <class T, class Op>
void unary_with(size_t count, size_t rank, const size_t *info, T parameter, const T *in, T *out) {
  Walk at(info, rank);
  for (size_t i = 0; i < count; i++)
    out[i] = T(Op::of(Wide<T>(in ? in[at.next()] : out[i]), Wide<T>(parameter)));
}

template <class T>
void affine(size_t count, size_t rank, const size_t *info, const T *in, T *out, T mul, T add) {
  Walk at(info, rank);
  for (size_t i = 0; i < count; i++) {
    T x = in ? in[at.next()] : out[i];
    out[i] = T(Wide<T>(T(Wide<T>(x) * Wide<T>(mul))) + Wide<T>(add));
  }
}

}  // namespace

void add_elementwise(Table &table) {
  auto affine_of = [&](std::string type, auto tag) {
    using T = typename decltype(tag)::type;
    table["affine_" + type] = Entry<affine<T>>::launch;
  };
  each_type(affine_of);
  affine_of("i16", Type<int16_t>()), affine_of("i32", Type<int32_t>());
  each_type([&](std::string type, auto tag) {
    using T = typename decltype(tag)::type;
#define BINARY(NAME, OUT, OP) table[#NAME "_" + type] = Entry<binary<T, OUT, OP<T>>>::launch;
    BINARY(badd, T, Add) BINARY(bsub, T, Sub) BINARY(bmul, T, Mul) BINARY(bdiv, T, Div)
    BINARY(bmaximum, T, Maximum) BINARY(bminimum, T, Minimum)
    BINARY(eq, uint8_t, Eq) BINARY(ne, uint8_t, Ne) BINARY(lt, uint8_t, Lt) BINARY(le, uint8_t, Le)
    BINARY(gt, uint8_t, Gt) BINARY(ge, uint8_t, Ge)
#undef BINARY
  });
  each_float([&](std::string type, auto tag) {
    using T = typename decltype(tag)::type;
#define UNARY(NAME, OP) table[#NAME "_" + type] = Entry<unary<T, OP>>::launch;
    UNARY(uneg, Neg) UNARY(urecip, Recip) UNARY(uexp, Exp) UNARY(ulog, Log) UNARY(usin, Sin) UNARY(ucos, Cos)
    UNARY(utanh, Tanh) UNARY(uerf, Erf) UNARY(uceil, Ceil) UNARY(ufloor, Floor) UNARY(uround, Round) UNARY(uabs, Abs)
    UNARY(usqr, Sqr) UNARY(usqrt, Sqrt) UNARY(ugelu, Gelu) UNARY(ugelu_erf, GeluErf) UNARY(usilu, Silu)
    UNARY(usigmoid, Sigmoid) UNARY(usign, Sign) UNARY(unormcdf, NormCdf) UNARY(urelu, Relu<T>)
#undef UNARY
    table["uelu_" + type] = Entry<unary_with<T, Elu>>::launch;
    table["upowf_" + type] = Entry<unary_with<T, Powf>>::launch;
  });
}

}  // namespace kiln
