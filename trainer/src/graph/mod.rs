//! Networks as graphs of values: one definition that is run, walked back, walked along a tangent, and written as ONNX.
//!
//! Weights are values like all others. What computes is an [`Operator`], a file each in [`operators`]; what computes a
//! weight from parameters (a spectral norm, a scale) is one, too. Samples have the shape that the graph states; in tensors
//! the batch comes before it. Images, sounds and clips are channels last, `[.., C]`: a row of memory holds what belongs
//! together. ONNX's order is the business of [`passes`] and of each operator's own ONNX form.

mod builder;
mod footprint;
mod network;
mod operator;
pub mod operators;
pub mod passes;
mod tangent;
#[cfg(test)]
mod tangent_tests;
#[cfg(test)]
pub(crate) mod testing;
mod trace;

pub use builder::Builder;
pub use network::Network;
pub use operator::{Context, OperandGradients, Operator, Saved};
pub use tangent::Slopes;
pub use trace::{Gradients, Trace, Wanted};

use std::sync::Arc;

/// Where a number comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Value {
    /// What the network is given, by its place among the inputs.
    Input(usize),
    /// What the network holds, by its place among the parameters.
    Parameter(usize),
    /// What a node computes, by its place among the nodes.
    Node(usize),
}

/// One computation.
#[derive(Clone, Debug)]
pub struct Node {
    /// What is computed.
    pub operator: Arc<dyn Operator>,
    /// From what: inputs, parameters, and nodes before this one.
    pub from: Vec<Value>,
}

/// What a parameter is to training.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Learned, and computed with in the arithmetic of the layers.
    Weight,
    /// Learned, and always in single precision: biases and scales, which are few and added to sums.
    Vector,
    /// Kept and brought up to date by the operator that reads it, but not learned.
    Buffer,
}

/// What the network holds.
#[derive(Clone, Debug, PartialEq)]
pub struct Parameter {
    /// Unique in the network: its name in every file.
    pub name: String,
    /// Of the whole tensor.
    pub shape: Vec<usize>,
    /// What it is to training.
    pub role: Role,
}

/// What an input holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Content {
    /// Numbers, of which gradients can be taken.
    Numbers,
    /// A class for each sample, `[N]` in `u32`, below this count.
    Class(usize),
}

/// What the network is given.
#[derive(Clone, Debug, PartialEq)]
pub struct Port {
    /// Its name in exported files.
    pub name: String,
    /// What it holds.
    pub content: Content,
}

/// What is known of a value before anything is computed.
#[derive(Clone, Debug, Default, PartialEq)]
struct Facts {
    /// Of one sample if it is of samples, else of the whole.
    shape: Vec<usize>,
    /// Whether it has a part for each sample, that is, depends on an input.
    of_samples: bool,
    /// Whether it depends on a parameter that is learned.
    learned: bool,
    /// The last node that reads it.
    last_use: Option<usize>,
}

/// The computation of a network, without its numbers.
#[derive(Clone, Debug, Default)]
pub struct Graph {
    inputs: Vec<Port>,
    parameters: Vec<Parameter>,
    nodes: Vec<Node>,
    outputs: Vec<Value>,
    of_inputs: Vec<Facts>,
    of_parameters: Vec<Facts>,
    of_nodes: Vec<Facts>,
}

impl Graph {
    /// What the network is given, in the order of [`Network::forward`].
    pub fn inputs(&self) -> &[Port] {
        &self.inputs
    }

    /// What the network holds.
    pub fn parameters(&self) -> &[Parameter] {
        &self.parameters
    }

    /// Its computations, each after those that it reads.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// What it gives.
    pub fn outputs(&self) -> &[Value] {
        &self.outputs
    }

    /// The shape of a value: of one sample, or of the whole where it does not depend on the inputs.
    pub fn shape(&self, value: Value) -> &[usize] {
        &self.facts(value).shape
    }

    /// Whether a value has a part for each sample.
    pub fn is_of_samples(&self, value: Value) -> bool {
        self.facts(value).of_samples
    }

    /// The operator in whose results samples see each other, if there is one.
    pub fn mixes_samples(&self) -> Option<&dyn Operator> {
        self.nodes.iter().map(|node| &*node.operator).find(|operator| operator.mixes_samples())
    }

    /// How many times each node's value is read, as an output, too.
    pub fn uses(&self, value: Value) -> usize {
        let reads = self.nodes.iter().flat_map(|node| &node.from).chain(&self.outputs);
        reads.filter(|&&read| read == value).count()
    }

    fn facts(&self, value: Value) -> &Facts {
        match value {
            Value::Input(i) => &self.of_inputs[i],
            Value::Parameter(i) => &self.of_parameters[i],
            Value::Node(i) => &self.of_nodes[i],
        }
    }

    fn facts_mut(&mut self, value: Value) -> &mut Facts {
        match value {
            Value::Input(i) => &mut self.of_inputs[i],
            Value::Parameter(i) => &mut self.of_parameters[i],
            Value::Node(i) => &mut self.of_nodes[i],
        }
    }
}
