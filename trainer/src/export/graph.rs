//! Layers as nodes of an ONNX graph.

use super::dtype;
use super::onnx::{self, Attribute, Entry, Graph, Model, Node, OperatorSet, TensorProto, ValueInfo};
use crate::net::{Layer, Network, Weights};
use crate::ops::Geometry;
use candle_core::{DType, Result, Tensor, bail};
use runtime::{INPUT_LATENT, ModelInfo, OUTPUT_IMAGE, Precision};

/// The model file of a generator without batch normalisation.
pub(super) fn model(network: &Network, info: &ModelInfo) -> Result<Model> {
    let image = [info.image.channels, info.image.height, info.image.width];
    if network.output_shape(&[info.latent_dim])? != image {
        bail!("the generator makes {:?}, not images of {image:?}", network.output_shape(&[info.latent_dim])?)
    }
    let element = match info.precision {
        Precision::F16 => onnx::FLOAT16,
        Precision::F32 => onnx::FLOAT,
    };
    let mut builder = Builder { precision: info.precision, nodes: Vec::new(), initializers: Vec::new() };
    let last = network.layers().len();
    let mut value = INPUT_LATENT.to_owned();
    for (i, layer) in network.layers().iter().enumerate() {
        let output = if i + 1 == last { OUTPUT_IMAGE.to_owned() } else { format!("h{}", i + 1) };
        builder.layer(layer, value, output.clone())?;
        value = output;
    }
    let graph = Graph {
        nodes: builder.nodes,
        name: "generator".into(),
        initializers: builder.initializers,
        inputs: vec![ValueInfo::batch_of(INPUT_LATENT, element, &[info.latent_dim])],
        outputs: vec![ValueInfo::batch_of(OUTPUT_IMAGE, element, &image)],
    };
    Ok(Model {
        ir_version: onnx::IR_VERSION,
        opset_import: vec![OperatorSet { domain: String::new(), version: onnx::OPSET }],
        producer_name: "kiln".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(graph),
        metadata: info.to_metadata().into_iter().map(|(key, value)| Entry { key: key.into(), value }).collect(),
    })
}

struct Builder {
    precision: Precision,
    nodes: Vec<Node>,
    initializers: Vec<TensorProto>,
}

impl Builder {
    fn layer(&mut self, layer: &Layer, input: String, output: String) -> Result<()> {
        let (op, inputs, attributes) = match layer {
            Layer::Linear(w) => ("Gemm", self.weights(input, w)?, vec![]),
            Layer::Conv2d(w, g) => ("Conv", self.weights(input, w)?, window(&w.weight, *g)?),
            Layer::ConvTranspose2d(w, g) => ("ConvTranspose", self.weights(input, w)?, window(&w.weight, *g)?),
            Layer::LeakyRelu(slope) => ("LeakyRelu", vec![input], vec![Attribute::float("alpha", *slope as f32)]),
            Layer::Relu => ("Relu", vec![input], vec![]),
            Layer::Tanh => ("Tanh", vec![input], vec![]),
            Layer::Reshape(shape) => {
                // Inline, never as external data: ONNX Runtime refuses a model whose Reshape shape is external.
                let sizes: Vec<i64> = std::iter::once(-1).chain(shape.iter().map(|&n| n as i64)).collect();
                let name = format!("{output}.shape");
                self.initializers.push(TensorProto {
                    dims: vec![sizes.len() as i64],
                    data_type: onnx::INT64,
                    name: name.clone(),
                    raw_data: sizes.iter().flat_map(|n| n.to_le_bytes()).collect(),
                });
                ("Reshape", vec![input, name], vec![])
            }
            Layer::BatchNorm { name, .. } => bail!("batch normalisation {name} must be folded before the export"),
        };
        self.nodes.push(Node { inputs, name: output.clone(), outputs: vec![output], op_type: op.into(), attributes });
        Ok(())
    }

    /// The inputs of a node with weights: the value that comes in, and the names of its initialisers.
    fn weights(&mut self, input: String, w: &Weights) -> Result<Vec<String>> {
        let mut inputs = vec![input];
        let named = [("weight", Some(&w.weight)), ("bias", w.bias.as_ref())];
        for (kind, tensor) in named.into_iter().filter_map(|(kind, t)| Some((kind, t?))) {
            let name = format!("{}.{kind}", w.name);
            self.initializers.push(self.tensor(name.clone(), tensor)?);
            inputs.push(name);
        }
        Ok(inputs)
    }

    fn tensor(&self, name: String, tensor: &Tensor) -> Result<TensorProto> {
        let flat = tensor.flatten_all()?.to_dtype(dtype(self.precision))?;
        let (data_type, raw_data) = match flat.dtype() {
            DType::F16 => (onnx::FLOAT16, flat.to_vec1::<half::f16>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
            _ => (onnx::FLOAT, flat.to_vec1::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
        };
        Ok(TensorProto { dims: tensor.dims().iter().map(|&n| n as i64).collect(), data_type, name, raw_data })
    }
}

/// The attributes of a convolution or a transposed one.
fn window(weight: &Tensor, geometry: Geometry) -> Result<Vec<Attribute>> {
    let (_, _, kh, kw) = weight.dims4()?;
    let (stride, padding) = (geometry.stride as i64, geometry.padding as i64);
    Ok(vec![
        Attribute::ints("kernel_shape", vec![kh as i64, kw as i64]),
        Attribute::ints("strides", vec![stride; 2]),
        Attribute::ints("pads", vec![padding; 4]),
    ])
}
