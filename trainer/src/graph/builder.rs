//! How graphs are made: value by value, each checked against those before.

use super::{Content, Facts, Graph, Network, Node, Operator, Parameter, Port, Role, Value};
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// A network in the making.
#[derive(Debug, Default)]
pub struct Builder {
    graph: Graph,
    tensors: Vec<Tensor>,
}

impl Builder {
    /// A network of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// An input of numbers, of this shape for each sample.
    pub fn input(&mut self, name: &str, sample: &[usize]) -> Value {
        self.port(Port { name: name.to_owned(), content: Content::Numbers }, sample)
    }

    /// An input of classes, one a sample.
    pub fn class(&mut self, name: &str, classes: usize) -> Value {
        self.port(Port { name: name.to_owned(), content: Content::Class(classes) }, &[])
    }

    pub(super) fn port(&mut self, port: Port, sample: &[usize]) -> Value {
        self.graph.inputs.push(port);
        self.graph.of_inputs.push(Facts { shape: sample.to_vec(), of_samples: true, ..Facts::default() });
        Value::Input(self.graph.inputs.len() - 1)
    }

    /// A parameter with its initial numbers.
    ///
    /// # Errors
    /// A name that is taken.
    pub fn parameter(&mut self, name: impl Into<String>, role: Role, tensor: Tensor) -> Result<Value> {
        let name = name.into();
        if self.has(&name) {
            bail!("two parameters are called {name}")
        }
        let shape = tensor.dims().to_vec();
        let learned = role != Role::Buffer;
        self.graph.of_parameters.push(Facts { shape: shape.clone(), learned, ..Facts::default() });
        self.graph.parameters.push(Parameter { name, shape, role });
        self.tensors.push(tensor);
        Ok(Value::Parameter(self.tensors.len() - 1))
    }

    /// Whether there is a parameter of this name.
    pub fn has(&self, name: &str) -> bool {
        self.graph.parameters.iter().any(|parameter| parameter.name == name)
    }

    /// What an operator makes of values.
    ///
    /// # Errors
    /// Shapes that do not fit it.
    pub fn apply(&mut self, operator: impl Operator, from: &[Value]) -> Result<Value> {
        self.node(Arc::new(operator), from)
    }

    pub(super) fn node(&mut self, operator: Arc<dyn Operator>, from: &[Value]) -> Result<Value> {
        let shape = operator.shape(&from.iter().map(|&value| self.shape(value)).collect::<Vec<_>>())?;
        let any = |fact: fn(&Facts) -> bool| from.iter().any(|&value| fact(self.graph.facts(value)));
        let facts = Facts { shape, of_samples: any(|f| f.of_samples), learned: any(|f| f.learned), last_use: None };
        let place = self.graph.nodes.len();
        for &value in from {
            self.graph.facts_mut(value).last_use = Some(place);
        }
        self.graph.of_nodes.push(facts);
        self.graph.nodes.push(Node { operator, from: from.to_vec() });
        Ok(Value::Node(place))
    }

    /// The shape of a value so far: see [`Graph::shape`].
    pub fn shape(&self, value: Value) -> &[usize] {
        self.graph.shape(value)
    }

    /// The network that gives these values.
    ///
    /// # Errors
    /// No output, or one that is the same for all samples.
    pub fn finish(mut self, outputs: &[Value]) -> Result<Network> {
        if outputs.is_empty() || outputs.iter().any(|&output| !self.graph.is_of_samples(output)) {
            bail!("a network has outputs that depend on its inputs")
        }
        self.graph.outputs = outputs.to_vec();
        Ok(Network::new(self.graph, self.tensors))
    }
}
