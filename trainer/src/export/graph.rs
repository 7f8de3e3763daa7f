//! The generator as an ONNX model: its graph, prepared for a file, operator by operator.

use crate::graph::{Content, Network, Value};
use crate::onnx::proto::{self, Entry, Model, OperatorSet, TensorProto, ValueInfo};
use crate::onnx::{Edge, Onnx, channels_first};
use candle_core::{Result, Tensor, bail};
use runtime::{ModelInfo, OUTPUT_IMAGE, Precision};
use safetensors::SafeTensors;

/// A generator as the file has it.
pub(super) struct Emitted {
    model: Model,
    /// The numbers under their names, in the file's type.
    pub weights: Vec<(String, Tensor)>,
}

/// The model of a frozen generator ([`Network::frozen`]).
pub(super) fn emit(network: &Network, info: &ModelInfo) -> Result<Emitted> {
    let network = network.evaluated()?.turned()?;
    let graph = network.graph();
    let image = [info.image.height, info.image.width, info.image.channels];
    if network.output_shape() != image {
        bail!("the generator makes {:?}, not images of {image:?}", network.output_shape())
    }
    let element = match info.precision {
        Precision::F16 => proto::FLOAT16,
        Precision::F32 | Precision::Int8 => proto::FLOAT,
    };
    let mut onnx = Onnx::new(info.precision);
    let (mut inputs, mut edges, mut of_inputs) = (Vec::new(), Vec::new(), Vec::new());
    for (i, port) in graph.inputs().iter().enumerate() {
        let sample = graph.shape(Value::Input(i)).to_vec();
        let element = if port.content == Content::Numbers { element } else { proto::INT64 };
        inputs.push(ValueInfo::batch_of(&port.name, element, &channels_first(&sample)));
        of_inputs.push(Edge::Computed { name: port.name.clone(), sample });
    }
    for node in graph.nodes() {
        let from = node.from.iter().map(|&value| match value {
            Value::Input(i) => of_inputs[i].clone(),
            Value::Node(i) => Edge::clone(&edges[i]),
            Value::Parameter(i) => {
                Edge::Constant { name: graph.parameters()[i].name.clone(), tensor: network.tensors()[i].clone() }
            }
        });
        let edge = node.operator.emit(&mut onnx, &from.collect::<Vec<_>>())?;
        edges.push(edge);
    }
    let Value::Node(last) = graph.outputs()[0] else { bail!("the generator has no layers") };
    onnx.rename(&edges[last], OUTPUT_IMAGE)?;
    let weights = onnx.weights()?;
    let outputs = vec![ValueInfo::batch_of(OUTPUT_IMAGE, element, &channels_first(&image))];
    let model = Model {
        ir_version: proto::IR_VERSION,
        opset_import: vec![OperatorSet { domain: String::new(), version: proto::OPSET }],
        producer_name: "kiln".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        graph: Some(onnx.finish(inputs, outputs)?),
        metadata: info.to_metadata().into_iter().map(|(key, value)| Entry { key: key.into(), value }).collect(),
    };
    Ok(Emitted { model, weights })
}

impl Emitted {
    /// Takes the weights out of the model and puts references to the safetensors file called `name` there, whose bytes are
    /// `file`.
    pub(super) fn refer(&mut self, name: &str, file: &[u8]) -> Result<()> {
        let (length, header) = SafeTensors::read_metadata(file).map_err(candle_core::Error::wrap)?;
        let start = size_of::<u64>() + length;
        let graph = self.model.graph.get_or_insert_default();
        let is_number = |tensor: &&mut TensorProto| [proto::FLOAT, proto::FLOAT16].contains(&tensor.data_type);
        for tensor in graph.initializers.iter_mut().filter(is_number) {
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

    /// The bytes of the file.
    pub(super) fn encode(self) -> Vec<u8> {
        proto::encode(self.model)
    }
}
