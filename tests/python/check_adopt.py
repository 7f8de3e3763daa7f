"""Checks `sample adopt` on generators that other tools export: PyTorch by both of its exporters, Keras by tf2onnx.

usage: check_adopt.py SAMPLE [--fixtures DIR]

SAMPLE is the program `sample`. Each case builds a small network, exports it, has it adopted, and compares what Python's
onnxruntime makes of the adopted file with what PyTorch or Keras themselves make of the same latents, one by one and in a
batch. With --fixtures, the exported files and what they make are written to DIR, where `runtime/tests/adopt.rs` draws them
through Kiln. What is not installed is skipped with a word; a failure ends with exit code 1.
"""

import importlib
import logging
import os
import pathlib
import shlex
import subprocess
import sys
import tempfile
import warnings

# Before it is loaded: else ONNX Runtime writes into the user's cache folder and sends what it sees.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
warnings.filterwarnings("ignore")
logging.disable(logging.WARNING)


def module(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"skipped what needs {name}: {error}")
        return None


numpy, onnx, onnxruntime, torch = map(module, ["numpy", "onnx", "onnxruntime", "torch"])


# What `runtime/tests/adopt.rs` draws: each kind of input, output and export once.
KEPT = """
attention-dynamo big-torchscript by-hand-opset-9 by-hand-opset-17 by-hand-opset-21 dcgan-alpha-uniform-torchscript dcgan-dynamo
dcgan-fixed-4 dcgan-grey-dynamo-fixed
dcgan-half-torchscript dcgan-opset-9-torchscript dcgan-torchscript dcgan-uniform-0-1-dynamo embedded-dynamo
embedded-torchscript integers-torchscript-fixed keras-conditional keras-opset-11 keras-opset-17 one-hot-inside-dynamo
one-hot-torchscript-fixed style-dynamo-fixed style-torchscript
""".split()


def keep(source, to):
    """Copies a file without what exporters tell of the machine that they ran on; its weights stay where they are."""
    model = onnx.load(source, load_external_data=False)
    for part in (*model.graph.node, *model.graph.value_info, *model.graph.input, *model.graph.output, *model.graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")
    model.graph.ClearField("metadata_props")
    onnx.save(model, to)
    weights = source.with_name(source.name + ".data")
    if weights.exists():
        (to.parent / weights.name).write_bytes(weights.read_bytes())


class Case:
    """A network that is exported in one way.

    `run` takes latents as the network does and classes, and gives images from -1 to 1, [N, C, H, W]; `latents` makes the
    network's latents of normal ones [N, latent].
    """

    def __init__(self, name, export, run, latent, *, options="", classes=0, latents=None, tolerance=2e-5):
        self.name, self.export, self.run, self.latent = name, export, run, latent
        self.options, self.classes, self.tolerance = options, classes, tolerance
        self.latents = latents or (lambda z: z)

    def check(self, program, folder, fixtures):
        source, adopted = folder / f"{self.name}.onnx", folder / f"{self.name}-adopted.onnx"
        self.export(str(source))
        command = [program, "adopt", str(source), str(adopted), *shlex.split(self.options)]
        output = subprocess.run(command, capture_output=True, text=True)
        assert output.returncode == 0, f"{self.name}: {output.stdout}{output.stderr}"
        onnx.checker.check_model(str(adopted), full_check=True)
        session = onnxruntime.InferenceSession(str(adopted), providers=["CPUExecutionProvider"])
        element = {"tensor(float16)": numpy.float16, "tensor(float)": numpy.float32}[session.get_inputs()[0].type]
        z = numpy.random.default_rng(3).standard_normal((5, self.latent)).astype(element)
        classes = numpy.arange(5, dtype=numpy.int64) % max(self.classes, 1)
        wanted = self.run(self.latents(z), classes).astype(numpy.float32)
        given = {"z": z, **({"class": classes} if self.classes else {})}
        far = 0
        for part in [slice(0, 5), slice(0, 2), *(slice(i, i + 1) for i in range(5))]:
            images = session.run(["image"], {name: values[part] for name, values in given.items()})[0]
            assert images.shape == wanted[part].shape, (self.name, images.shape, wanted.shape)
            far = max(far, numpy.abs(images.astype(numpy.float32) - wanted[part]).max())
        assert far <= self.tolerance, f"{self.name}: differs by {far}"
        assert wanted.std() > 0.01, f"{self.name}: images are flat"
        print(f"{self.name}: agrees within {far:.1e}")
        if fixtures and self.name in KEPT:
            keep(source, fixtures / source.name)
            lines = [self.options, str(self.tolerance)]
            for i in range(2):
                lines.append(str(classes[i]) if self.classes else "-")
                lines += [" ".join(f"{x:.8g}" for x in values[i].ravel()) for values in (z.astype(numpy.float32), wanted)]
            (fixtures / f"{self.name}.txt").write_text("\n".join(lines) + "\n")


def torch_cases():
    nn, functional = torch.nn, torch.nn.functional

    def settled(network):
        """A network as after training: of means and variances that are not those of a new one, and larger weights."""
        torch.manual_seed(1)
        for name, value in network.state_dict().items():
            if "running_mean" in name:
                value.copy_(torch.randn_like(value) / 4)
            elif "running_var" in name:
                value.copy_(torch.rand_like(value) + 0.5)
            elif value.is_floating_point():
                value.copy_(torch.randn_like(value) * (1.5 / max(value[0].numel(), 1) ** 0.5 if value.dim() > 1 else 0.3))
                if name.endswith("weight") and value.dim() == 1:
                    value.add_(1)
        return network.eval()

    def export(network, examples, names, outputs, dynamo, dynamic, **more):
        def write(path):
            with torch.no_grad():
                if dynamo:
                    shapes = tuple({0: torch.export.Dim("batch")} if e.dim() > 1 or n in ("y", "label") else None
                                   for e, n in zip(examples, names))
                    torch.onnx.export(network, examples, path, dynamo=True, verbose=False, input_names=names,
                                      output_names=outputs, dynamic_shapes=shapes if dynamic else None, **more)
                else:
                    axes = {n: {0: "batch"} for e, n in zip(examples, names) if e.dim() > 1 or n in ("y", "label")}
                    axes |= {n: {0: "batch"} for n in outputs}
                    torch.onnx.export(network, examples, path, dynamo=False, input_names=names, output_names=outputs,
                                      dynamic_axes=axes if dynamic else None, **more)
        return write

    def ways(name, network, examples, run, latent, *, names=("z",), outputs=("image",), which="tsTS", more=None, **options):
        """Cases of a network: by TorchScript with an open and a fixed batch (t, s), and by dynamo (T, S)."""
        for way in which:
            dynamo, dynamic = way.isupper(), way.lower() == "t"
            given = examples(2 if dynamic else 1)
            kind = ("dynamo" if dynamo else "torchscript") + ("" if dynamic else "-fixed")
            write = export(network, given, list(names), list(outputs), dynamo, dynamic, **(more or {}))
            yield Case(f"{name}-{kind}", write, run, latent, **options)

    def of(network, *, one_by_one=False):
        def run(z, classes):
            with torch.no_grad():
                return network(torch.from_numpy(z)).numpy()
        return run

    class Dcgan(nn.Module):
        """The one of the tutorials: latents [N, 8, 1, 1]."""

        def __init__(self, channels=3, last=None):
            super().__init__()
            self.layers = nn.Sequential(
                nn.ConvTranspose2d(8, 8, 2, 1, 0, bias=False), nn.BatchNorm2d(8), nn.ReLU(True),
                nn.ConvTranspose2d(8, 8, 4, 2, 1, bias=False), nn.BatchNorm2d(8), nn.LeakyReLU(0.2),
                nn.ConvTranspose2d(8, channels, 4, 2, 1), last or nn.Tanh())

        def forward(self, z):
            return self.layers(z)

    deep = lambda z: z[:, :, None, None]
    network = settled(Dcgan())
    yield from ways("dcgan", network, lambda n: (torch.randn(n, 8, 1, 1),), of(network), 8, latents=deep)
    old = {"opset_version": 9}
    yield from ways("dcgan-opset-9", network, lambda n: (torch.randn(n, 8, 1, 1),), of(network), 8, latents=deep, which="t",
                    more=old)
    network_16 = settled(Dcgan()).half()
    yield from ways("dcgan-half", network_16, lambda n: (torch.randn(n, 8, 1, 1).half(),), of(network_16), 8, latents=deep,
                    which="tS", tolerance=1e-2)
    grey = settled(Dcgan(1, nn.Sigmoid()))
    yield from ways("dcgan-grey", grey, lambda n: (torch.randn(n, 8, 1, 1),), lambda z, c: of(grey)(z, c) * 2 - 1, 8,
                    latents=deep, which="tS")
    uniform = lambda z: torch.erf(torch.from_numpy(z) / 2**0.5).numpy()
    alpha = settled(Dcgan(4))
    yield from ways("dcgan-alpha-uniform", alpha, lambda n: (torch.randn(n, 8, 1, 1),), of(alpha), 8,
                    latents=lambda z: deep(uniform(z)), which="tS", options="--distribution uniform")
    yield from ways("dcgan-uniform-0-1", network, lambda n: (torch.randn(n, 8, 1, 1),), of(network), 8,
                    latents=lambda z: deep((uniform(z) + 1) / 2), which="T", options="--distribution uniform:0..1")
    batch_of_4 = Case("dcgan-fixed-4", export(network, (torch.randn(4, 8, 1, 1),), ["noise"], ["out"], False, False),
                      of(network), 8, latents=deep)
    yield batch_of_4

    class Embedded(nn.Module):
        """Of classes by number, with sizes that are taken from the batch, scaling by factors and to sizes."""

        def __init__(self):
            super().__init__()
            self.embedding, self.dense = nn.Embedding(5, 3), nn.Linear(11, 8 * 4)
            self.group, self.conv = nn.GroupNorm(2, 8), nn.Conv2d(8, 12, 3, padding=1)

        def forward(self, z, label):
            x = self.dense(torch.cat([z, self.embedding(label)], 1))
            x = self.group(x.view(x.size(0), 8, 2, 2))
            x = functional.interpolate(functional.silu(x), size=(4, 4), mode="bilinear")
            x = functional.pixel_shuffle(self.conv(x), 2)
            return (torch.tanh(x) * 127.5 + 127.5).clamp(0, 255)

    embedded = settled(Embedded())

    def run_embedded(z, classes):
        with torch.no_grad():
            return embedded(torch.from_numpy(z), torch.from_numpy(classes)).numpy() / 127.5 - 1
    yield from ways("embedded", embedded, lambda n: (torch.randn(n, 8), torch.arange(n)), run_embedded, 8, classes=5,
                    names=("z", "label"), tolerance=5e-5)

    class Integers(Embedded):
        """The same, given classes of i32, before the latent, and ending in bytes."""

        def forward(self, y, z):
            return super().forward(z, y.long()).to(torch.uint8)

    integers = settled(Integers())

    def run_integers(z, classes):
        with torch.no_grad():
            images = integers(torch.from_numpy(classes.astype(numpy.int32)), torch.from_numpy(z))
        return images.numpy().astype(numpy.float32) / 127.5 - 1
    yield from ways("integers", integers, lambda n: (torch.arange(n, dtype=torch.int32), torch.randn(n, 8)), run_integers, 8,
                    names=("y", "z"), classes=5, tolerance=9e-3)

    class OneHot(nn.Module):
        """Of classes as one number each, and of rows of numbers."""

        def __init__(self, inside):
            super().__init__()
            self.inside = inside
            self.layers = nn.Sequential(nn.Linear(10, 16), nn.LayerNorm(16), nn.GELU(), nn.Linear(16, 2 * 5 * 3))

        def forward(self, y, z):
            if self.inside:
                y = functional.one_hot(y, 4).float()
            return torch.sigmoid(self.layers(torch.cat((z, y), -1)))

    for inside in (False, True):
        one_hot = settled(OneHot(inside))

        def run_one_hot(z, classes, one_hot=one_hot, inside=inside):
            y = torch.from_numpy(classes)
            with torch.no_grad():
                y = y if inside else functional.one_hot(y, 4).float()
                return one_hot(y, torch.from_numpy(z)).numpy().reshape(-1, 2, 5, 3) * 2 - 1
        give = lambda n, inside=inside: (torch.arange(n) if inside else torch.eye(4)[:n], torch.randn(n, 6))
        more = " --classes 4" if inside else ""
        yield from ways("one-hot-inside" if inside else "one-hot", one_hot, give, run_one_hot, 6, names=("y", "z"), classes=4,
                        options="--shape 2x5x3" + more)

    class Attention(nn.Module):
        """Self-attention over positions, as SAGAN and BigGAN have it."""

        def __init__(self):
            super().__init__()
            self.dense, self.last = nn.Linear(6, 8 * 16), nn.Conv2d(8, 3, 1)
            self.query, self.key, self.value = (nn.Conv2d(8, 4, 1), nn.Conv2d(8, 4, 1), nn.Conv2d(8, 8, 1))
            self.norm = nn.InstanceNorm2d(8, affine=True)

        def forward(self, z):
            x = self.norm(self.dense(z).view(-1, 8, 4, 4))
            n, c, h, w = x.shape
            query, key, value = (layer(x).view(n, -1, h * w) for layer in (self.query, self.key, self.value))
            weights = torch.softmax(query.transpose(1, 2) @ key, -1)
            x = x + (value @ weights.transpose(1, 2)).view(n, c, h, w)
            return torch.tanh(self.last(functional.interpolate(x, scale_factor=2)))

    attention = settled(Attention())
    yield from ways("attention", attention, lambda n: (torch.randn(n, 6),), of(attention), 6)

    class Big(nn.Module):
        """As BigGAN: spectral norm, and batch normalisation whose scale and shift the class and a part of the latent decide."""

        def __init__(self):
            super().__init__()
            self.shared, self.dense = nn.Embedding(3, 4), nn.utils.spectral_norm(nn.Linear(4, 8 * 4))
            self.norm = nn.BatchNorm2d(8, affine=False)
            self.gain, self.bias = nn.Linear(8, 8, bias=False), nn.Linear(8, 8)
            self.last = nn.utils.spectral_norm(nn.ConvTranspose2d(8, 3, 4, 2, 1))

        def forward(self, z, y):
            first, second = torch.split(z, [4, 4], 1)
            style = torch.cat([self.shared(y), second], 1)
            x = self.norm(self.dense(first).view(z.shape[0], 8, 2, 2))
            x = x * (1 + self.gain(style)).view(-1, 8, 1, 1) + self.bias(style).view(-1, 8, 1, 1)
            return torch.tanh(self.last(functional.relu(x)) * 3)

    big = settled(Big())

    def run_big(z, classes):
        with torch.no_grad():
            return big(torch.from_numpy(z), torch.from_numpy(classes)).numpy()
    yield from ways("big", big, lambda n: (torch.randn(n, 8), torch.arange(n)), run_big, 8, names=("z", "y"), classes=3)

    class Style(nn.Module):
        """As StyleGAN: a mapping network, truncation, a learned constant, noise, samples scaled before and after convolutions."""

        def __init__(self, fused=False, chance=False):
            super().__init__()
            self.fused, self.chance = fused, chance
            self.mapping = nn.Sequential(nn.Linear(6, 8), nn.LeakyReLU(0.2), nn.Linear(8, 8), nn.LeakyReLU(0.2))
            self.register_buffer("w_avg", torch.zeros(8))
            self.constant = nn.Parameter(torch.zeros(8, 4, 4))
            self.affine, self.kernel = nn.Linear(8, 8), nn.Parameter(torch.zeros(8, 8, 3, 3))
            self.strength, self.last = nn.Parameter(torch.zeros(())), nn.Conv2d(8, 3, 1)

        def forward(self, z, truncation_psi, noise):
            z = z * (z.square().mean(1, keepdim=True) + 1e-8).rsqrt()
            w = self.mapping(z)
            w = (self.w_avg + truncation_psi * (w - self.w_avg)).unsqueeze(1).repeat(1, 2, 1)
            x = self.constant.unsqueeze(0).repeat(w.shape[0], 1, 1, 1)
            style = self.affine(w[:, 0])
            kernels = self.kernel.unsqueeze(0) * style.reshape(-1, 1, 8, 1, 1)
            scale = (kernels.square().sum(dim=[2, 3, 4]) + 1e-8).rsqrt()
            if self.fused:
                kernels = (kernels * scale.reshape(-1, 8, 1, 1, 1)).reshape(-1, 8, 3, 3)
                x = functional.conv2d(x.reshape(1, -1, 4, 4), kernels, padding=1, groups=w.shape[0]).reshape(-1, 8, 4, 4)
            else:
                x = functional.conv2d(x * style[:, :, None, None], self.kernel, padding=1) * scale[:, :, None, None]
            x = functional.leaky_relu(x + noise * self.strength, 0.2)
            if self.chance:
                x = x + torch.randn_like(x)
            x = functional.interpolate(x, scale_factor=2, mode="bilinear")
            return torch.tanh(self.last(x)), w

    style = settled(Style())

    def run_style(z, classes):
        with torch.no_grad():
            return style(torch.from_numpy(z), torch.tensor(0.7), torch.full((len(z), 1, 4, 4), 0.25))[0].numpy()
    give = lambda n: (torch.randn(n, 6), torch.tensor(1.0), torch.randn(n, 1, 4, 4))
    yield from ways("style", style, give, run_style, 6, names=("z", "truncation_psi", "noise"), outputs=("image", "w"),
                    options="--input truncation_psi=0.7 --input noise=0.25", tolerance=5e-5)


def cases_by_hand():
    """Operators in the forms of old versions, and in forms that the exporters above do not write; what ONNX Runtime makes."""
    helper, tensors = onnx.helper, onnx.numpy_helper
    random = numpy.random.default_rng(4)
    weight = lambda name, *shape: tensors.from_array(random.standard_normal(shape).astype(numpy.float32) / 2, name)
    numbers = lambda name, values, kind=numpy.int64: tensors.from_array(numpy.array(values, kind), name)
    node = helper.make_node
    old = [
        node("Unsqueeze", ["z"], ["a"], axes=[2, 3]),
        node("Upsample", ["a", "scales"], ["b"], mode="nearest"),
        node("ConvTranspose", ["b", "w"], ["c"], strides=[2, 2], auto_pad="SAME_UPPER", output_shape=[5, 4]),
        node("Clip", ["c"], ["d"], min=-2.0, max=1.5),
        node("Pad", ["d"], ["e"], pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.25),
        node("Slice", ["e"], ["f"], starts=[0, 1], ends=[9223372036854775807, 6], axes=[0, 2]),
        node("Split", ["f"], ["g", "h"], axis=1, split=[1, 3]),
        node("ReduceSum", ["h"], ["i"], axes=[1], keepdims=0),
        node("Shape", ["g"], ["shape"]),
        node("Reshape", ["i", "shape"], ["j"]),
        node("Dropout", ["j"], ["k", "mask"], ratio=0.5),
        node("Concat", ["g", "k", "g"], ["l"], axis=1),
        node("Flatten", ["l"], ["m"], axis=1),
        node("Softmax", ["m"], ["n"]),
        node("Shape", ["l"], ["shape_of_l"]),
        node("Reshape", ["n", "shape_of_l"], ["o"]),
        node("Mul", ["o", "much"], ["p"]),
        node("Clip", ["p"], ["image"], min=0.0, max=1.0),
    ]
    old_weights = [numbers("scales", [1, 1, 2, 2], numpy.float32), weight("w", 4, 4, 4, 4), numbers("much", 20, numpy.float32)]
    # With another padding at the beginning than at the end: of Keras, and of PyTorch's ZeroPad2d.
    uneven = [
        node("Reshape", ["z", "shape"], ["a"]),
        node("ConvTranspose", ["a", "w1"], ["b"], strides=[2, 2], pads=[1, 1, 2, 2]),
        node("Conv", ["b", "w2"], ["c"], strides=[2, 2], pads=[0, 0, 1, 1]),
        node("Pad", ["c", "pads"], ["d"]),
        node("Conv", ["d", "w3"], ["e"]),
        node("Tanh", ["e"], ["image"]),
    ]
    new = [
        node("Shape", ["z"], ["n"], start=0, end=1),
        node("Concat", ["n", "rest"], ["shape"], axis=0),
        node("Expand", ["constant", "shape"], ["a"]),
        node("ReduceSum", ["z", "axes"], ["b"], keepdims=1),
        node("Unsqueeze", ["b", "two"], ["c"]),
        node("Mul", ["a", "c"], ["d"]),
        node("Conv", ["d", "w"], ["e"], auto_pad="SAME_LOWER"),
        node("Resize", ["e", "", "", "size"], ["f"], axes=[2, 3], mode="linear", coordinate_transformation_mode="align_corners"),
        node("GroupNormalization", ["f", "ones", "zeros"], ["g"], num_groups=2),
        node("ConstantOfShape", ["shape"], ["h"], value=numbers("value", [0.25], numpy.float32)),
        node("Resize", ["h", "", "factors"], ["i"]),
        node("Add", ["g", "i"], ["j"]),
        node("Split", ["j"], ["k", "l"], axis=1, num_outputs=2),
        node("Max", ["k", "l"], ["m"]),
        node("Transpose", ["m"], ["o"], perm=[0, 2, 3, 1]),
        node("Tanh", ["o"], ["p"]),
        node("Cast", ["p"], ["image"], to=onnx.TensorProto.FLOAT16),
    ]
    new_weights = [
        numbers("rest", [4, 2, 3]), numbers("axes", [1]), numbers("two", [2, 3]), weight("constant", 1, 4, 2, 3),
        weight("w", 4, 4, 3, 3), numbers("size", [4, 6]), numbers("ones", [1, 2, 0.5, 1], numpy.float32),
        numbers("zeros", [0, 0.1, -0.3, 0.2], numpy.float32), numbers("factors", [1, 1, 2, 2], numpy.float32),
    ]
    uneven_weights = [
        numbers("shape", [-1, 2, 3, 2]), numbers("pads", [0, 0, 1, 1, 0, 0, 0, 0]), weight("w1", 2, 3, 5, 5), weight("w2", 4, 3, 3, 3),
        weight("w3", 3, 4, 2, 2),
    ]
    # To fewer positions, which old versions count otherwise than new ones.
    fewer = [
        node("Reshape", ["z", "shape"], ["a"]),
        node("Resize", ["a", "scales"], ["b"], mode="nearest"),
        node("Tanh", ["b"], ["image"]),
    ]
    fewer_weights = [numbers("shape", [-1, 1, 7, 7]), numbers("scales", [1, 1, 0.6, 0.6], numpy.float32)]
    for opset, latent, nodes, weights, element, shape, finish in [
        (9, 4, old, old_weights, onnx.TensorProto.FLOAT, ["n", 3, 5, 6], lambda image: image * 2 - 1),
        (10, 49, fewer, fewer_weights, onnx.TensorProto.FLOAT, ["n", 1, 4, 4], lambda image: image),
        (17, 12, uneven, uneven_weights, onnx.TensorProto.FLOAT, ["n", 3, 3, 2], lambda image: image),
        (21, 5, new, new_weights, onnx.TensorProto.FLOAT16, ["n", 4, 6, 2], lambda image: image.transpose(0, 3, 1, 2)),
    ]:
        graph = helper.make_graph(
            nodes, "g", [helper.make_tensor_value_info("z", onnx.TensorProto.FLOAT, ["n", latent])],
            [helper.make_tensor_value_info("image", element, shape)], weights)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        onnx.checker.check_model(model, full_check=True)
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        run = lambda z, classes, session=session, finish=finish: finish(session.run(["image"], {"z": z})[0])
        save = lambda path, model=model: onnx.save(model, path)
        more = {} if opset < 21 else {"options": "--layout nhwc", "tolerance": 2e-3}
        yield Case(f"by-hand-opset-{opset}", save, run, latent, **more)


def refusals(program, folder, fixtures):
    """What must be refused, and with which words."""
    if not torch:
        return
    nn = torch.nn

    class Noisy(nn.Module):
        def forward(self, z):
            return torch.tanh(z[:, None, :4, None] + torch.randn(z.shape[0], 1, 4, 4))

    training = nn.Sequential(nn.ConvTranspose2d(8, 3, 4), nn.BatchNorm2d(3), nn.Tanh())
    dropout = nn.Sequential(nn.ConvTranspose2d(8, 3, 4), nn.Dropout(0.5), nn.Tanh())
    kinds = torch.onnx.TrainingMode.TRAINING
    for name, network, z, more, words in [
        ("chance", Noisy().eval(), torch.randn(2, 8), {}, "functions of the latent alone"),
        ("training", training.train(), torch.randn(2, 8, 1, 1), {"training": kinds}, "model.eval()"),
        ("dropout", dropout.train(), torch.randn(2, 8, 1, 1), {"training": kinds}, "model.eval()"),
    ]:
        path = folder / f"{name}.onnx"
        torch.onnx.export(network, (z,), str(path), dynamo=False, input_names=["z"], do_constant_folding=False,
                          dynamic_axes={"z": {0: "n"}}, **more)
        output = subprocess.run([program, "adopt", str(path), str(folder / "no.onnx")], capture_output=True, text=True)
        assert output.returncode == 1 and words in output.stderr, f"{name}: {output.stdout}{output.stderr}"
        assert not (folder / "no.onnx").exists()
        if fixtures:
            keep(path, fixtures / f"refused-{name}.onnx")
        print(f"{name}: refused")


def keras_cases():
    tensorflow, tf2onnx = map(module, ["tensorflow", "tf2onnx"])
    if not (tensorflow and tf2onnx):
        return
    keras = tensorflow.keras
    for opset in (11, 17):
        keras.utils.set_random_seed(1)
        layers = keras.layers
        network = keras.Sequential([
            layers.Input((6,)), layers.Dense(2 * 3 * 8, use_bias=False), layers.BatchNormalization(), layers.LeakyReLU(),
            layers.Reshape((2, 3, 8)),
            layers.Conv2DTranspose(8, 5, strides=2, padding="same", use_bias=False), layers.BatchNormalization(),
            layers.ReLU(), layers.UpSampling2D(2), layers.Dropout(0.3),
            layers.Conv2D(3, 3, padding="same", activation="sigmoid"),
        ])
        network.set_weights([w + numpy.random.default_rng(i).uniform(0, 0.5, w.shape) for i, w in enumerate(network.get_weights())])
        signature = [tensorflow.TensorSpec((None, 6), tensorflow.float32, name="noise")]

        def export(path, network=network, signature=signature, opset=opset):
            called = tensorflow.function(lambda x: network(x, training=False))
            tf2onnx.convert.from_function(called, signature, opset=opset, output_path=path)
        run = lambda z, classes, network=network: network(z, training=False).numpy().transpose(0, 3, 1, 2) * 2 - 1
        yield Case(f"keras-opset-{opset}", export, run, 6, options="--distribution normal")

    layers = keras.layers
    label, noise = keras.Input((1,), dtype="int32", name="label"), keras.Input((5,), name="noise")
    x = layers.Concatenate()([noise, layers.Flatten()(layers.Embedding(4, 3)(label))])
    x = layers.Reshape((2, 2, 4))(layers.Dense(16, activation="elu")(x))
    x = layers.Conv2DTranspose(1, 3, strides=3, padding="valid", activation="tanh")(x)
    conditional = keras.Model([label, noise], x)
    signature = [tensorflow.TensorSpec((None, 1), tensorflow.int32, name="label"),
                 tensorflow.TensorSpec((None, 5), tensorflow.float32, name="noise")]

    def export(path):
        called = tensorflow.function(lambda label, noise: conditional([label, noise], training=False))
        tf2onnx.convert.from_function(called, signature, opset=15, output_path=path)
    run = lambda z, classes: conditional([classes[:, None].astype(numpy.int32), z]).numpy().transpose(0, 3, 1, 2)
    yield Case("keras-conditional", export, run, 5, classes=4)


def main(program, fixtures):
    if not (numpy and onnx and onnxruntime):
        return
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        cases = [*cases_by_hand(), *(torch_cases() if torch else []), *keras_cases()]
        wrong = 0
        for case in cases:
            try:
                case.check(program, folder, fixtures)
            except Exception as error:
                wrong += 1
                print(f"FAILED {case.name}: {error}", file=sys.stderr)
        refusals(program, folder, fixtures)
    if wrong:
        sys.exit(f"{wrong} of {len(cases)} cases failed")
    print(f"{len(cases)} cases")


if __name__ == "__main__":
    arguments = sys.argv[1:]
    if len(arguments) not in (1, 3) or arguments[1:2] not in ([], ["--fixtures"]):
        sys.exit(__doc__)
    main(os.path.abspath(arguments[0]), pathlib.Path(arguments[2]) if arguments[1:] else None)
