//! ONNX files in the making: nodes and initialisers. What they are made of is the business of others.

pub(crate) mod proto;

use crate::ops::Activation;
use candle_core::{DType, Result, Tensor, bail};
pub(crate) use proto::Attribute;
use proto::{Node, TensorProto};
use runtime::Precision;

/// A value of an ONNX graph.
#[derive(Clone, Debug)]
pub enum Edge {
    /// What a node or an input gives.
    Computed {
        /// Its name.
        name: String,
        /// The shape of a sample as the trainer has it, channels last; the file has channels first.
        sample: Vec<usize>,
    },
    /// What is known before the graph is run, as the trainer has it; it is in the file when a node takes it.
    Constant {
        /// Its name.
        name: String,
        /// Its numbers.
        tensor: Tensor,
    },
}

impl Edge {
    /// The name and the shape of a sample of a computed value.
    ///
    /// # Errors
    /// A constant.
    pub fn computed(&self) -> Result<(&str, &[usize])> {
        match self {
            Self::Computed { name, sample } => Ok((name, sample)),
            Self::Constant { name, .. } => bail!("{name} is the same for all samples, where ONNX needs one for each"),
        }
    }

    /// The name and the numbers of a constant.
    ///
    /// # Errors
    /// A computed value.
    pub fn constant(&self) -> Result<(&str, &Tensor)> {
        match self {
            Self::Constant { name, tensor } => Ok((name, tensor)),
            Self::Computed { name, .. } => bail!("{name} is computed for each sample, where ONNX needs a constant"),
        }
    }
}

/// A graph in the making.
#[derive(Debug)]
pub struct Onnx {
    precision: Precision,
    nodes: Vec<Node>,
    weights: Vec<(String, Tensor)>,
    /// What is no number of the graph's type: sizes, axes, and what is quantised. They are never external data.
    integers: Vec<TensorProto>,
}

impl Onnx {
    /// A graph of nothing, whose numbers are of this type.
    pub fn new(precision: Precision) -> Self {
        Self { precision, nodes: Vec::new(), weights: Vec::new(), integers: Vec::new() }
    }

    /// The type of the numbers.
    pub fn dtype(&self) -> DType {
        dtype(self.precision)
    }

    /// What a node of this operator makes of its inputs; `sample` is the trainer's shape of it.
    pub(crate) fn apply(
        &mut self,
        op: &str,
        inputs: Vec<String>,
        attributes: Vec<Attribute>,
        sample: Vec<usize>,
    ) -> Edge {
        let name = format!("h{}", self.nodes.len() + 1);
        let outputs = vec![name.clone()];
        self.nodes.push(Node { inputs, outputs, name: name.clone(), op_type: op.into(), attributes });
        Edge::Computed { name, sample }
    }

    /// An operator that takes one computed value and leaves its shape.
    ///
    /// # Errors
    /// A constant.
    pub(crate) fn map(&mut self, op: &str, from: &Edge, attributes: Vec<Attribute>) -> Result<Edge> {
        let (name, sample) = from.computed()?;
        Ok(self.apply(op, vec![name.to_owned()], attributes, sample.to_vec()))
    }

    /// Numbers in the file, under a name that is theirs: what it is called there.
    pub fn weight(&mut self, name: &str, tensor: Tensor) -> String {
        // The same numbers may be taken by several nodes.
        if !self.weights.iter().any(|(taken, _)| taken == name) {
            self.weights.push((name.to_owned(), tensor));
        }
        name.to_owned()
    }

    /// One number in the file.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn number(&mut self, value: f64) -> Result<String> {
        let tensor = Tensor::new(value as f32, &candle_core::Device::Cpu)?;
        Ok(self.weight(&format!("number{}", self.nodes.len() + 1), tensor))
    }

    /// Sizes or axes in the file: ONNX Runtime refuses a Reshape whose shape is external data.
    pub fn sizes(&mut self, what: &str, sizes: &[i64]) -> String {
        let name = format!("{what}{}.shape", self.nodes.len() + 1);
        self.integer(&name, proto::INT64, &[sizes.len()], sizes.iter().flat_map(|n| n.to_le_bytes()).collect())
    }

    /// Whole numbers from 0 to 255 in the file, under a name that is theirs.
    pub fn bytes(&mut self, name: &str, dims: &[usize], values: &[u8]) -> String {
        self.integer(name, proto::UINT8, dims, values.to_vec())
    }

    /// Whole numbers from -128 to 127 in the file, under a name that is theirs.
    pub fn small_integers(&mut self, name: &str, dims: &[usize], values: &[i8]) -> String {
        self.integer(name, proto::INT8, dims, values.iter().flat_map(|n| n.to_le_bytes()).collect())
    }

    /// A list of whole numbers of 32 bits in the file, under a name that is theirs.
    pub fn integers(&mut self, name: &str, values: &[i32]) -> String {
        let raw_data = values.iter().flat_map(|n| n.to_le_bytes()).collect();
        self.integer(name, proto::INT32, &[values.len()], raw_data)
    }

    fn integer(&mut self, name: &str, data_type: i32, dims: &[usize], raw_data: Vec<u8>) -> String {
        // The same ones may be taken by several nodes.
        if !self.integers.iter().any(|taken| taken.name == name) {
            let dims = dims.iter().map(|&n| n as i64).collect();
            self.integers.push(TensorProto {
                dims,
                data_type,
                name: name.to_owned(),
                raw_data,
                ..TensorProto::default()
            });
        }
        name.to_owned()
    }

    /// A value with other sizes, the elements in the same order in the file; `sizes` are the file's, without the batch.
    ///
    /// # Errors
    /// A constant.
    pub fn reshape(&mut self, from: &Edge, sizes: &[usize], sample: &[usize]) -> Result<Edge> {
        let (name, _) = from.computed()?;
        let sizes: Vec<i64> = std::iter::once(-1).chain(sizes.iter().map(|&n| n as i64)).collect();
        let shape = self.sizes("reshape", &sizes);
        Ok(self.apply("Reshape", vec![name.to_owned(), shape], vec![], sample.to_vec()))
    }

    /// The function that follows a layer.
    ///
    /// # Errors
    /// A constant.
    pub fn activation(&mut self, from: Edge, activation: Activation) -> Result<Edge> {
        match activation {
            Activation::None => Ok(from),
            Activation::LeakyRelu(0.) => self.map("Relu", &from, vec![]),
            Activation::LeakyRelu(slope) => self.map("LeakyRelu", &from, vec![Attribute::float("alpha", slope as f32)]),
            Activation::Tanh => self.map("Tanh", &from, vec![]),
        }
    }

    /// Gives a value another name, under which it leaves the graph.
    ///
    /// # Errors
    /// A value that no node computes.
    pub fn rename(&mut self, edge: &Edge, name: &str) -> Result<()> {
        let (old, _) = edge.computed()?;
        let mut found = false;
        for node in &mut self.nodes {
            for value in node.inputs.iter_mut().chain(&mut node.outputs).filter(|value| *value == old) {
                *value = name.to_owned();
                found = true;
            }
        }
        if found { Ok(()) } else { bail!("the generator gives what it is given") }
    }

    /// The numbers in the file under their names, in the file's type.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn weights(&self) -> Result<Vec<(String, Tensor)>> {
        self.weights.iter().map(|(name, t)| Ok((name.clone(), t.to_dtype(self.dtype())?))).collect()
    }

    /// The graph: what is small first, whose comments align the weights after it.
    pub(crate) fn finish(self, inputs: Vec<proto::ValueInfo>, outputs: Vec<proto::ValueInfo>) -> Result<proto::Graph> {
        let mut initializers = self.integers;
        for (name, tensor) in &self.weights {
            initializers.push(initializer(name, tensor, self.precision)?);
        }
        Ok(proto::Graph { nodes: self.nodes, name: "generator".into(), initializers, inputs, outputs })
    }
}

/// The candle type of a precision.
pub(crate) fn dtype(precision: Precision) -> DType {
    match precision {
        Precision::F16 => DType::F16,
        Precision::F32 | Precision::Int8 => DType::F32,
    }
}

/// The sizes of a sample in the file: channels first.
pub fn channels_first(sample: &[usize]) -> Vec<usize> {
    match sample {
        [positions @ .., channels] if !positions.is_empty() => [&[*channels][..], positions].concat(),
        other => other.to_vec(),
    }
}

fn initializer(name: &str, tensor: &Tensor, precision: Precision) -> Result<TensorProto> {
    let flat = tensor.flatten_all()?.to_dtype(dtype(precision))?;
    let (data_type, raw_data) = match flat.dtype() {
        DType::F16 => (proto::FLOAT16, flat.to_vec1::<half::f16>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
        _ => (proto::FLOAT, flat.to_vec1::<f32>()?.iter().flat_map(|v| v.to_le_bytes()).collect()),
    };
    let dims = tensor.dims().iter().map(|&n| n as i64).collect();
    Ok(TensorProto { dims, data_type, name: name.to_owned(), raw_data, ..TensorProto::default() })
}
