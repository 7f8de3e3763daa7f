//! Layers as nodes of an ONNX graph.

use super::onnx::{self, Attribute, Entry, Graph, Model, Node, OperatorSet, TensorProto, ValueInfo};
use super::{dtype, layout};
use crate::net::{Layer, Network, Weights};
use crate::ops::{Activation, Geometry};
use candle_core::{DType, Result, Tensor, bail};
use runtime::{INPUT_LATENT, ImageShape, ModelInfo, OUTPUT_IMAGE, Precision};
use safetensors::SafeTensors;

/// The model file of a generator without batch normalisation.
pub(super) fn model(network: &Network, info: &ModelInfo) -> Result<Model> {
    let ImageShape { channels, height, width } = info.image;
    let made = network.output_shape(&[info.latent_dim])?;
    if made != [height, width, channels] {
        bail!("the generator makes {made:?}, not images of {height} x {width} x {channels}")
    }
    let element = match info.precision {
        Precision::F16 => onnx::FLOAT16,
        Precision::F32 => onnx::FLOAT,
    };
    let mut builder = Builder::default();
    for (name, tensor) in layout::tensors(network, &[info.latent_dim])? {
        builder.initializers.push(initializer(name, &tensor, info.precision)?);
    }
    for layer in network.layers() {
        builder.layer(layer)?;
    }
    // First what is small: the comment of the tensor before it aligns a weight.
    builder.initializers.sort_by_key(|tensor| tensor.data_type != onnx::INT64);
    let Some(last) = builder.nodes.last_mut() else { bail!("the generator has no layers") };
    last.outputs = vec![OUTPUT_IMAGE.into()];
    let graph = Graph {
        nodes: builder.nodes,
        name: "generator".into(),
        initializers: builder.initializers,
        inputs: vec![ValueInfo::batch_of(INPUT_LATENT, element, &[info.latent_dim])],
        outputs: vec![ValueInfo::batch_of(OUTPUT_IMAGE, element, &[channels, height, width])],
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

/// Takes the weights out of `model` and puts references to the safetensors file called `name` there, whose bytes are `file`.
pub(super) fn refer(model: &mut Model, name: &str, file: &[u8]) -> Result<()> {
    let (length, header) = SafeTensors::read_metadata(file).map_err(candle_core::Error::wrap)?;
    let start = size_of::<u64>() + length;
    let graph = model.graph.get_or_insert_default();
    for tensor in graph.initializers.iter_mut().filter(|tensor| tensor.data_type != onnx::INT64) {
        let Some(info) = header.info(&tensor.name) else { bail!("the weights lack {}", tensor.name) };
        let (from, to) = info.data_offsets;
        let entries = [
            ("location", name.to_owned()),
            ("offset", (start + from).to_string()),
            ("length", (to - from).to_string()),
        ];
        tensor.external_data = entries.map(|(key, value)| Entry { key: key.into(), value }).into();
        tensor.data_location = 1;
        tensor.raw_data = Vec::new();
    }
    Ok(())
}

#[derive(Default)]
struct Builder {
    nodes: Vec<Node>,
    initializers: Vec<TensorProto>,
}

impl Builder {
    fn layer(&mut self, layer: &Layer) -> Result<()> {
        match layer {
            Layer::Linear(w) => self.weights("Gemm", w, vec![Attribute::int("transB", 1)]),
            Layer::Conv2d(w, g) => self.weights("Conv", w, window(&w.weight, *g)?),
            Layer::ConvTranspose2d(w, g) => self.weights("ConvTranspose", w, window(&w.weight, *g)?),
            Layer::Reshape(sample) => {
                // Inline, never as external data: ONNX Runtime refuses a model whose Reshape shape is external.
                let sample = layout::turned_shape(sample);
                let sizes: Vec<i64> = std::iter::once(-1).chain(sample.iter().map(|&n| n as i64)).collect();
                let name = format!("reshape{}.shape", self.nodes.len() + 1);
                self.initializers.push(TensorProto {
                    dims: vec![sizes.len() as i64],
                    data_type: onnx::INT64,
                    name: name.clone(),
                    raw_data: sizes.iter().flat_map(|n| n.to_le_bytes()).collect(),
                    ..TensorProto::default()
                });
                self.node("Reshape", vec![name], vec![]);
            }
            Layer::BatchNorm { name, .. } => bail!("batch normalisation {name} must be folded before the export"),
        }
        Ok(())
    }

    /// A node with weights, and one for the activation after it.
    fn weights(&mut self, op: &str, w: &Weights, attributes: Vec<Attribute>) {
        let bias = w.bias.as_ref().map(|_| format!("{}.bias", w.name));
        self.node(op, std::iter::once(format!("{}.weight", w.name)).chain(bias).collect(), attributes);
        match w.activation {
            Activation::None => (),
            Activation::LeakyRelu(0.) => self.node("Relu", vec![], vec![]),
            Activation::LeakyRelu(slope) => {
                self.node("LeakyRelu", vec![], vec![Attribute::float("alpha", slope as f32)]);
            }
            Activation::Tanh => self.node("Tanh", vec![], vec![]),
        }
    }

    /// A node that takes the last value and these initialisers.
    fn node(&mut self, op: &str, initializers: Vec<String>, attributes: Vec<Attribute>) {
        let last = self.nodes.last().map_or_else(|| INPUT_LATENT.to_owned(), |node| node.outputs[0].clone());
        let name = format!("h{}", self.nodes.len() + 1);
        self.nodes.push(Node {
            inputs: std::iter::once(last).chain(initializers).collect(),
            outputs: vec![name.clone()],
            name,
            op_type: op.into(),
            attributes,
        });
    }
}

fn initializer(name: String, tensor: &Tensor, precision: Precision) -> Result<TensorProto> {
    let flat = tensor.flatten_all()?.to_dtype(dtype(precision))?;
    let (data_type, raw_data) = match flat.dtype() {
        DType::F16 => (onnx::FLOAT16, flat.to_vec1::<half::f16>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
        _ => (onnx::FLOAT, flat.to_vec1::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
    };
    let dims = tensor.dims().iter().map(|&n| n as i64).collect();
    Ok(TensorProto { dims, data_type, name, raw_data, ..TensorProto::default() })
}

/// The attributes of a convolution or a transposed one.
fn window(weight: &Tensor, geometry: Geometry) -> Result<Vec<Attribute>> {
    let (_, kh, kw, _) = weight.dims4()?;
    let ints = |name: &str, values: &[usize]| Attribute::ints(name, values.iter().map(|&v| v as i64).collect());
    let ([_, ph, pw], groups) = (geometry.padding, geometry.groups as i64);
    Ok(vec![
        ints("kernel_shape", &[kh, kw]),
        ints("strides", &geometry.stride[1..]),
        ints("pads", &[ph, pw, ph, pw]),
        Attribute::int("group", groups),
    ])
}
