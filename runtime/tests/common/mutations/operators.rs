//! The operators that graphs are made of by chance, with what they may take.

/// An operator: what it takes beside the value, one letter each, and its attributes.
///
/// Inputs: `k` a kernel, `t` that of a transposed convolution, `c` a number for each channel, `s` a single number, `b`
/// numbers that may be brought to the value's shape, `m` a matrix, `l` numbers for the last axes, `x` a value from before,
/// `p` pads, `r` a number for each axis, `a` axes, `v` as many places, `d` a number computed of integers, `n` a shape, `i`
/// indices, `f` scales, `-` nothing. Those in brackets may be missing.
///
/// Attributes: `i` an integer, `o` 0 or 1, `e` an element type, `f` a number, `s` small integers as many as positions, `k`
/// the same from 1 on, `p` twice as many, `r` an order of axes, and words.
pub type Operator = (&'static str, &'static str, &'static [(&'static str, &'static str)]);

const WINDOW: &[(&str, &str)] = &[
    ("pads", "p"),
    ("strides", "s"),
    ("dilations", "s"),
    ("group", "i"),
    ("kernel_shape", "s"),
    ("auto_pad", PADDING),
];
const POOL: &[(&str, &str)] = &[
    ("kernel_shape", "k"),
    ("kernel_shape", "k"),
    ("kernel_shape", "k"),
    ("pads", "p"),
    ("strides", "k"),
    ("dilations", "k"),
    ("ceil_mode", "o"),
    ("count_include_pad", "o"),
    ("auto_pad", PADDING),
];
const PADDING: &str = "NOTSET VALID SAME_UPPER SAME_LOWER";
const REDUCE: &[(&str, &str)] = &[("axes", "r"), ("keepdims", "o")];
const AXIS: &[(&str, &str)] = &[("axis", "i"), ("axis", "i")];

pub const OPERATORS: &[Operator] = &[
    ("Abs", "", &[]),
    ("Add", "b", &[]),
    ("Add", "x", &[]),
    ("Add", "d", &[]),
    ("AveragePool", "", POOL),
    ("BatchNormalization", "cccc", &[("epsilon", "f"), ("momentum", "f")]),
    ("Cast", "", &[("to", "e"), ("to", "e"), ("to", "i")]),
    ("Ceil", "", &[]),
    ("Clip", "(ss)", &[]),
    ("Concat", "x", AXIS),
    ("Concat", "xx", AXIS),
    ("Conv", "k(c)", WINDOW),
    ("Conv", "k(c)", &[]),
    ("ConvTranspose", "t(c)", WINDOW),
    ("ConvTranspose", "t", &[("strides", "k"), ("output_padding", "s"), ("pads", "p")]),
    ("Cos", "", &[]),
    ("DepthToSpace", "", &[("blocksize", "i"), ("mode", "DCR CRD")]),
    ("Div", "b", &[]),
    ("Dropout", "", &[]),
    ("Elu", "", &[("alpha", "f")]),
    ("Erf", "", &[]),
    ("Exp", "", &[]),
    ("Expand", "n", &[]),
    ("Flatten", "", &[("axis", "i")]),
    ("Floor", "", &[]),
    ("Gather", "i", AXIS),
    ("Gelu", "", &[("approximate", "none tanh")]),
    ("Gemm", "m(l)", &[("alpha", "f"), ("beta", "f"), ("transA", "o"), ("transB", "o")]),
    ("GlobalAveragePool", "", &[]),
    ("GlobalMaxPool", "", &[]),
    ("HardSigmoid", "", &[("alpha", "f"), ("beta", "f")]),
    ("HardSwish", "", &[]),
    ("Identity", "", &[]),
    ("InstanceNormalization", "cc", &[("epsilon", "f")]),
    ("LayerNormalization", "l(l)", &[("axis", "i"), ("epsilon", "f"), ("stash_type", "o")]),
    ("LeakyRelu", "", &[("alpha", "f")]),
    ("Log", "", &[]),
    ("LogSoftmax", "", AXIS),
    ("LpNormalization", "", &[("axis", "i"), ("p", "i")]),
    ("MatMul", "m", &[]),
    ("MatMul", "x", &[]),
    ("Max", "bx", &[]),
    ("MaxPool", "", POOL),
    ("Mean", "xb", &[]),
    ("Min", "b", &[]),
    ("Mul", "b", &[]),
    ("Mul", "x", &[]),
    ("Neg", "", &[]),
    ("PRelu", "b", &[]),
    ("Pad", "p(s)", &[("mode", "constant reflect edge")]),
    ("Pow", "b", &[]),
    ("Pow", "s", &[]),
    ("Reciprocal", "", &[]),
    ("ReduceL1", "(a)", REDUCE),
    ("ReduceL2", "(a)", REDUCE),
    ("ReduceMax", "(a)", REDUCE),
    ("ReduceMean", "(a)", REDUCE),
    ("ReduceMin", "(a)", REDUCE),
    ("ReduceSum", "a", REDUCE),
    ("ReduceSumSquare", "(a)", REDUCE),
    ("Relu", "", &[]),
    ("Reshape", "n", &[("allowzero", "o")]),
    ("Resize", "-f", &[("mode", "nearest linear cubic"), ("nearest_mode", "floor ceil round_prefer_ceil"), RESIZE]),
    ("Selu", "", &[("alpha", "f"), ("gamma", "f")]),
    ("Sigmoid", "", &[]),
    ("Sign", "", &[]),
    ("Sin", "", &[]),
    ("Slice", "vva(v)", &[]),
    ("Softmax", "", AXIS),
    ("Softplus", "", &[]),
    ("Softsign", "", &[]),
    ("SpaceToDepth", "", &[("blocksize", "i")]),
    ("Split", "(a)", &[("axis", "i"), ("num_outputs", "i")]),
    ("Sqrt", "", &[]),
    ("Squeeze", "a", &[]),
    ("Sub", "b", &[]),
    ("Sum", "xx", &[]),
    ("Tanh", "", &[]),
    ("Tile", "r", &[]),
    ("Transpose", "", &[("perm", "r"), ("perm", "r")]),
    ("Unsqueeze", "a", &[]),
];
const RESIZE: (&str, &str) =
    ("coordinate_transformation_mode", "half_pixel pytorch_half_pixel align_corners asymmetric");
