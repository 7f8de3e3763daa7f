"""Makes of a generator file what PyTorch loads at once: the layers as those of `torch.nn`, with their weights.

usage: torch_from_onnx.py FILE.onnx FILE.pt

Takes the operators that Kiln's DCGANs have, in a chain. Done before anything is timed, so that neither the time nor the
memory that reading ONNX takes is counted for PyTorch.
"""

import sys

import onnx
import torch
from onnx import numpy_helper


def layers(graph):
    """Name in `torch.nn`, options and weights of each layer; an error for what is not known."""
    tensors = {tensor.name: torch.from_numpy(numpy_helper.to_array(tensor).copy()) for tensor in graph.initializer}
    product = None
    for node in graph.node:
        options = {attribute.name: onnx.helper.get_attribute_value(attribute) for attribute in node.attribute}
        held = [tensors[name] for name in node.input if name in tensors]
        weights = dict(zip(("weight", "bias"), held))
        if node.op_type == "MatMul" and held:
            product = held[0]
        elif node.op_type == "Add" and product is not None and held:
            inputs, outputs = product.shape
            weights = {"weight": product.T.contiguous(), "bias": held[0]}
            product = None
            yield "Linear", {"in_features": inputs, "out_features": outputs}, weights
        elif node.op_type == "ConvTranspose" and options["group"] == 1 and len(set(options["pads"])) == 1:
            inputs, outputs = held[0].shape[:2]
            yield "ConvTranspose2d", {
                "in_channels": inputs,
                "out_channels": outputs,
                "kernel_size": options["kernel_shape"],
                "stride": options["strides"],
                "padding": options["pads"][0],
                "bias": len(held) > 1,
            }, weights
        elif node.op_type == "Reshape":
            yield "Unflatten", {"dim": 1, "unflattened_size": held[0].tolist()[1:]}, {}
        elif node.op_type == "Relu":
            yield "ReLU", {"inplace": True}, {}
        elif node.op_type == "Tanh":
            yield "Tanh", {}, {}
        else:
            sys.exit(f"{node.name}: no layer is known for {node.op_type} with {options}")


def main(source, target):
    graph = onnx.load(source).graph
    latent = graph.input[0].type.tensor_type.shape.dim[1].dim_value
    torch.save({"latent": latent, "layers": list(layers(graph))}, target)


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
