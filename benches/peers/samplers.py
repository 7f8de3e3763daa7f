"""What a user would take instead to run a generator file, each as one who knows it well does for latency on the CPU.

All are used alike: `latent` and `element` say what the generator takes, `put` hands over latents [N, latent] before the
clock starts, `run` is what is timed, and `image` gives what the last run made, as an array of numpy.
"""

import os

# Before it is loaded: else ONNX Runtime writes into the user's cache folder and sends what it sees.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


class OnnxRuntime:
    """`InferenceSession.run`: the output is a new array."""

    def __init__(self, path, batch, threads):
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        (z,) = self.session.get_inputs()
        self.latent = z.shape[1]
        self.element = {"tensor(float16)": "float16", "tensor(float)": "float32"}[z.type]
        self.versions = {"onnxruntime": onnxruntime.__version__}

    def put(self, z):
        self.inputs = {"z": z}

    def run(self):
        self.outputs = self.session.run(["image"], self.inputs)

    def image(self):
        return self.outputs[0]


class OnnxRuntimeBinding(OnnxRuntime):
    """Inputs and outputs bound once, to tensors that are used again."""

    def put(self, z):
        import onnxruntime

        shape = [len(z), *self.session.get_outputs()[0].shape[1:]]
        self.z = onnxruntime.OrtValue.ortvalue_from_numpy(z)
        self.output = onnxruntime.OrtValue.ortvalue_from_shape_and_type(shape, z.dtype)
        self.binding = self.session.io_binding()
        self.binding.bind_ortvalue_input("z", self.z)
        self.binding.bind_ortvalue_output("image", self.output)

    def run(self):
        self.session.run_with_iobinding(self.binding)

    def image(self):
        return self.output.numpy()


class OpenVino:
    """Compiled for this batch, with the hint for latency; inputs and outputs are shared, not copied."""

    def __init__(self, path, batch, threads):
        import openvino

        core = openvino.Core()
        model = core.read_model(path)
        self.latent = model.input(0).partial_shape[1].get_length()
        self.element = {"f16": "float16", "f32": "float32"}[model.input(0).element_type.get_type_name()]
        model.reshape([batch, self.latent])
        hints = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
        self.request = core.compile_model(model, "CPU", hints).create_infer_request()
        self.versions = {"openvino": openvino.__version__.split("-")[0]}

    def put(self, z):
        import openvino

        self.request.set_input_tensor(openvino.Tensor(z, shared_memory=True))

    def run(self):
        self.request.infer(share_outputs=True)

    def image(self):
        return self.request.get_output_tensor(0).data


class Torch:
    """The network that `torch_from_onnx.py` makes of the file, eagerly and in inference mode."""

    channels_last = False

    def __init__(self, path, batch, threads):
        import torch

        torch.set_num_threads(threads)
        torch.set_grad_enabled(False)
        self.torch = torch
        saved = torch.load(path, weights_only=True, mmap=True)
        self.latent, self.element = saved["latent"], "float32"
        self.network = torch.nn.Sequential(*(self.layer(*layer) for layer in saved["layers"])).eval()
        if self.channels_last:
            self.network.to(memory_format=torch.channels_last)
        self.versions = {"torch": torch.__version__}

    def layer(self, kind, options, weights):
        """A layer that has these weights, not a copy of them."""
        # Without a device nothing is initialised that is replaced at once.
        layer = getattr(self.torch.nn, kind)(**options, **({"device": "meta"} if weights else {}))
        layer.load_state_dict(weights, assign=True)
        return layer

    def put(self, z):
        self.z = self.torch.from_numpy(z)

    def run(self):
        with self.torch.inference_mode():
            self.output = self.network(self.z)

    def image(self):
        return self.output.numpy()


class TorchChannelsLast(Torch):
    """The same in the format that PyTorch recommends for convolutions."""

    channels_last = True


class Tract:
    """Optimised for this batch. Its Python package computes on one thread."""

    def __init__(self, path, batch, threads):
        import tract

        assert threads == 1, "tract's Python package has one thread"
        model = tract.onnx().load(path)
        _, latent, element = model.input_fact(0).dump().lower().split(",")
        self.latent = int(latent)
        self.element = {"f16": "float16", "f32": "float32"}[element]
        model.set_input_fact(0, f"{batch},{latent},{element}")
        self.state = model.into_model().into_runnable().spawn_state()
        self.tensor = tract.Tensor.from_numpy
        self.versions = {"tract": tract.version()}

    def put(self, z):
        self.z = [self.tensor(z)]

    def run(self):
        self.outputs = self.state.run(self.z)

    def image(self):
        return self.outputs[0].to_numpy()


SAMPLERS = {
    "onnxruntime": OnnxRuntime,
    "onnxruntime-iobinding": OnnxRuntimeBinding,
    "openvino": OpenVino,
    "torch-eager": Torch,
    "torch-channels-last": TorchChannelsLast,
    "tract": Tract,
}
