"""DCGAN generators as ONNX graphs, their transposed convolutions written in several forms."""

import dataclasses

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

CHANNELS = {"64": (512, 256, 128, 64, 3), "128": (1024, 512, 256, 128, 64, 3)}


@dataclasses.dataclass
class Network:
    """The weights of a generator: a dense layer to `start` (C, H, W), then ConvTransposes (weight, bias)."""

    dense: tuple
    start: tuple
    layers: list

    @property
    def latent(self):
        return self.dense[0].shape[1]

    @property
    def image(self):
        return (self.layers[-1][0].shape[1], *(d * 2 ** len(self.layers) for d in self.start[1:]))


def network(name, digits):
    if name != "digits":
        channels, rng = CHANNELS[name], np.random.default_rng(0)

        def normal(*shape, inputs):
            return (rng.standard_normal(shape) * (2 / inputs) ** 0.5).astype(np.float32)

        rows = channels[0] * 16
        layers = [
            (normal(c, d, 4, 4, inputs=4 * c), normal(d, inputs=200)) for c, d in zip(channels[:-1], channels[1:])
        ]
        return Network((normal(rows, 100, inputs=100), normal(rows, inputs=200)), (channels[0], 4, 4), layers)
    graph = onnx.load(digits).graph
    held = {w.name: numpy_helper.to_array(w) for w in graph.initializer}
    held = {name: value.astype(np.float32) if value.dtype == np.float16 else value for name, value in held.items()}
    product, bias = graph.node[:2]
    assert (product.op_type, bias.op_type) == ("MatMul", "Add"), "the file's first layer is not a dense one"
    pairs = [(held[product.input[1]].T, held[bias.input[1]])]
    pairs += [tuple(held[name] for name in n.input[1:]) for n in graph.node if n.op_type == "ConvTranspose"]
    start = next(held[n.input[1]] for n in graph.node if n.op_type == "Reshape")
    return Network(pairs[0], tuple(int(d) for d in start[1:]), pairs[1:])


class Graph:
    """Nodes and constants in the making; floating-point constants take the graph's type.

    A `widened` graph holds f16 constants and takes and gives f16, but Casts all of them and computes in f32.
    """

    def __init__(self, dtype=np.float32, widened=False):
        self.dtype, self.widened, self.nodes, self.constants = dtype, widened, [], []

    def const(self, value):
        value = np.asarray(value)
        value = value.astype(self.dtype) if value.dtype.kind == "f" else value
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(value), f"c{len(self.constants)}"))
        name = self.constants[-1].name
        return self.add("Cast", name, to=TensorProto.FLOAT) if self.widened and value.dtype.kind == "f" else name

    def add(self, op, *inputs, **attributes):
        inputs = [i if isinstance(i, str) else self.const(i) for i in inputs]
        name = f"t{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], name=f"{op}{name}", **attributes))
        return name

    def model(self, shape_in, shape_out, out=None):
        """The graph from the input `z` to `image`, the output of its last node."""
        self.nodes[-1].output[0] = "image"
        kinds = (helper.np_dtype_to_tensor_dtype(np.dtype(t)) for t in (self.dtype, out or self.dtype))
        ends = zip(("z", "image"), kinds, (shape_in, shape_out))
        z, image = (helper.make_tensor_value_info(name, kind, ["N", *shape]) for name, kind, shape in ends)
        graph = helper.make_graph(self.nodes, "generator", [z], [image], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)


# An output row 2j + phase takes two input rows. In the frame that is padded by one on both sides, phase 1 of j - 1 and
# phase 0 of j take the same two, j - 1 and j: one Conv 2x2 gives both, and depth to space makes an image with a border.
TAPS = {0: [3, 1], 1: [2, 0]}


def phase(weight, a, b):
    """The Conv 2x2 [C_out, C_in, 2, 2] that gives the rows of phase a and the columns of phase b."""
    return weight[:, :, TAPS[a]][:, :, :, TAPS[b]].transpose(1, 0, 2, 3)


def conv2x2(g, x, w, b, act, side):
    """One Conv 2x2 with 4C outputs on the padded input, depth to space, and the border cut off."""
    kernels = [phase(w, 1 - s, 1 - t) for s in (0, 1) for t in (0, 1)]
    x = g.add(act, g.add("Conv", x, np.concatenate(kernels), np.tile(b, 4), pads=[1] * 4))
    x = g.add("DepthToSpace", x, blocksize=2)
    return g.add("Slice", x, np.array([1, 1]), np.array([-1, -1]), np.array([2, 3]))


def conv2x2_four(g, x, w, b, act, side):
    """Four Conv 2x2, one for each phase, put side by side, and depth to space."""
    parts = [g.add("Conv", x, phase(w, p, q), b, pads=[1 - p, 1 - q, p, q]) for p in (0, 1) for q in (0, 1)]
    return g.add("DepthToSpace", g.add(act, g.add("Concat", *parts, axis=1)), blocksize=2)


def conv2x2_last(g, x, w, b, act, side):
    """Four Conv 2x2 whose results are interleaved with their channels last: copies of whole pixels, then of rows."""

    def row(a):
        parts = [g.add(act, g.add("Conv", x, phase(w, a, c), b, pads=[1 - a, 1 - c, a, c])) for c in (0, 1)]
        pair = g.add("Concat", *(g.add("Transpose", part, perm=[0, 2, 3, 1]) for part in parts), axis=3)
        return g.add("Reshape", pair, np.array([-1, side, 2 * side * w.shape[1]]))

    x = g.add("Reshape", g.add("Concat", row(0), row(1), axis=2), np.array([-1, 2 * side, 2 * side, w.shape[1]]))
    return g.add("Transpose", x, perm=[0, 3, 1, 2])


def conv3x3(g, x, w, b, act, side):
    """One Conv 3x3 with 4C outputs, 5 of 9 taps zero, and depth to space."""
    kernels = [np.zeros((w.shape[1], w.shape[0], 3, 3), np.float32) for _ in range(4)]
    for i, kernel in enumerate(kernels):
        p, q = divmod(i, 2)
        kernel[:, :, p : p + 2, q : q + 2] = phase(w, p, q)
    x = g.add("Conv", x, np.concatenate(kernels), np.tile(b, 4), pads=[1] * 4)
    return g.add("DepthToSpace", g.add(act, x), blocksize=2)


def col2im(g, x, w, b, act, side):
    """MatMul to 16C rows, then Col2Im: what ConvTranspose does, spelled out."""
    x = g.add("MatMul", w.reshape(w.shape[0], -1).T, g.add("Reshape", x, np.array([0, w.shape[0], side * side])))
    x = g.add("Col2Im", x, np.array([2 * side] * 2), np.array([4, 4]), strides=[2, 2], pads=[1] * 4)
    return g.add(act, g.add("Add", x, b[:, None, None]))


def transposed(g, x, w, b, act, side):
    return g.add(act, g.add("ConvTranspose", x, w, b, kernel_shape=[4, 4], strides=[2, 2], pads=[1] * 4))


FORMS = {
    "transposed": transposed,
    "conv2x2": conv2x2,
    "conv2x2-four": conv2x2_four,
    "conv2x2-last": conv2x2_last,
    "conv3x3": conv3x3,
    "col2im": col2im,
}


def generator(net, dtype=np.float32, forms=None, widened=False):
    """A whole generator, its layers in the given forms."""
    g, (weight, bias), (c, h, w) = Graph(dtype, widened), net.dense, net.start
    z = g.add("Cast", "z", to=TensorProto.FLOAT) if widened else "z"
    x = g.add("Reshape", g.add("Relu", g.add("Gemm", z, weight, bias, transB=1)), np.array([-1, c, h, w]))
    for i, (weight, bias) in enumerate(net.layers):
        act = "Tanh" if i == len(net.layers) - 1 else "Relu"
        x = FORMS[forms[i] if forms else "transposed"](g, x, weight, bias, act, h * 2**i)
    x = g.add("Cast", x, to=TensorProto.FLOAT16) if widened else x
    return g.model((net.latent,), net.image)


def all_but_last(net, form):
    return [form] * (len(net.layers) - 1) + ["transposed"]
