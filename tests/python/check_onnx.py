"""Checks an exported generator with the tools that others use.

usage: check_onnx.py FILE.onnx

Runs the ONNX checker (full check), Python's onnxruntime, OpenVINO and tract, as far as they are installed, on the same latents,
and compares their images. What is missing is skipped with a word; a failure ends with exit code 1.
"""

import importlib
import os
import sys

# Before it is loaded: else ONNX Runtime writes into the user's cache folder and sends what it sees.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"


def module(name):
    try:
        return importlib.import_module(name)
    except ImportError as error:
        print(f"skipped {name}: {error}")
        return None


def apart(numpy, one, other):
    """The largest difference of images [N, C, H, W], of colours with alpha as much of it as can be seen."""
    one, other = one.astype(numpy.float32), other.astype(numpy.float32)
    far = numpy.abs(one - other)
    if one.shape[1] % 2 == 0:
        far[:, :-1] *= (one[:, -1:] + 1) / 2
    return far.max()


def main(path):
    names = ["onnx", "numpy", "onnxruntime", "openvino", "tract"]
    onnx, numpy, onnxruntime, openvino, tract = map(module, names)
    if onnx:
        onnx.checker.check_model(path, full_check=True)
        model = onnx.load(path)
        operators = {node.op_type for node in model.graph.node}
        domains = {node.domain for node in model.graph.node}
        assert domains <= {""}, f"operators of the domains {domains}"
        assert not any(op.startswith("Random") for op in operators), operators
        assert any(entry.key == "kiln.format" for entry in model.metadata_props)
        print(f"onnx.checker takes it: {sorted(operators)}, opset {model.opset_import[0].version}")
        if openvino and "QLinearConv" in operators:
            print("skipped openvino: it takes the scales of QLinearConv's channels for those of its inputs")
            openvino = None
    if not (numpy and onnxruntime):
        return
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (z, *others), (image,) = session.get_inputs(), session.get_outputs()
    names = [z.name, *(other.name for other in others), image.name]
    assert names in (["z", "image"], ["z", "class", "image"]), names
    classes = int(session.get_modelmeta().custom_metadata_map["kiln.classes"])
    element = {"tensor(float16)": numpy.float16, "tensor(float)": numpy.float32}[z.type]
    for batch in (1, 5):
        latents = numpy.random.default_rng(batch).standard_normal((batch, z.shape[1])).astype(element)
        given = {"z": latents}
        if others:
            given["class"] = numpy.arange(batch, dtype=numpy.int64) % classes
        images = session.run(["image"], given)[0]
        assert images.shape == (batch, *image.shape[1:]) and numpy.abs(images).max() <= 1 + 1e-6, images.shape
        print(f"onnxruntime {onnxruntime.__version__} runs a batch of {batch}: {images.shape}")
        if openvino:
            core = openvino.Core()
            compiled = core.compile_model(core.read_model(path), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
            other = compiled(given)[compiled.output(0)]
            far = apart(numpy, other, images)
            assert far < 0.02, f"OpenVINO differs by {far}"
            print(f"openvino agrees within {far:.1e}")
        if tract:
            model = tract.onnx().load(path)
            model.set_input_fact(0, f"{batch},{z.shape[1]},{'f16' if element is numpy.float16 else 'f32'}")
            if others:
                model.set_input_fact(1, f"{batch},i64")
            inputs = [tract.Tensor.from_numpy(values) for values in given.values()]
            other = model.into_model().into_runnable().run(inputs)[0].to_numpy()
            far = apart(numpy, other, images)
            assert far < 0.02, f"tract differs by {far}"
            print(f"tract agrees within {far:.1e}")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(sys.argv[1])
