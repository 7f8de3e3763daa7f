//! A graph with its numbers.

use super::{Graph, Parameter, Saved, Trace, Value};
use candle_core::{Result, Tensor, bail};
use std::sync::Arc;

/// A graph, shared, and the tensors of its parameters. Averages, copies in half precision, and views of a learner's state
/// are networks with other tensors.
#[derive(Clone, Debug)]
pub struct Network {
    graph: Arc<Graph>,
    tensors: Vec<Tensor>,
}

impl Network {
    pub(super) fn new(graph: Graph, tensors: Vec<Tensor>) -> Self {
        Self { graph: Arc::new(graph), tensors }
    }

    /// What is computed.
    pub fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The tensors of the parameters, in their order.
    pub fn tensors(&self) -> &[Tensor] {
        &self.tensors
    }

    /// The parameters with their tensors.
    pub fn parameters(&self) -> impl Iterator<Item = (&Parameter, &Tensor)> {
        self.graph.parameters().iter().zip(&self.tensors)
    }

    /// The network with other tensors.
    ///
    /// # Errors
    /// Another number of them, other shapes.
    pub fn with(&self, tensors: Vec<Tensor>) -> Result<Self> {
        let expected = self.graph.parameters();
        if expected.len() != tensors.len() {
            bail!("{} tensors for {} parameters", tensors.len(), expected.len())
        }
        for (parameter, tensor) in expected.iter().zip(&tensors) {
            if tensor.dims() != parameter.shape {
                bail!("parameter {} is {:?}, got {:?}", parameter.name, parameter.shape, tensor.dims())
            }
        }
        Ok(Self { graph: self.graph.clone(), tensors })
    }

    /// The network with `f` applied to each of its tensors.
    ///
    /// # Errors
    /// Those of `f`; other shapes.
    pub fn map(&self, mut f: impl FnMut(&Parameter, &Tensor) -> Result<Tensor>) -> Result<Self> {
        self.with(self.parameters().map(|(parameter, tensor)| f(parameter, tensor)).collect::<Result<_>>()?)
    }

    /// The shape of one sample at the first output.
    pub fn output_shape(&self) -> &[usize] {
        self.graph.shape(self.graph.outputs()[0])
    }

    /// The first output for a batch: each input is [N, ...] with the shape that the graph states.
    ///
    /// # Errors
    /// Another number of inputs, other shapes.
    pub fn forward(&self, inputs: &[&Tensor]) -> Result<Tensor> {
        self.outputs(inputs, |_, _| ()).map(|mut outputs| outputs.swap_remove(0))
    }

    /// All outputs for a batch; `visit` gets what each node has kept.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn outputs(&self, inputs: &[&Tensor], mut visit: impl FnMut(usize, Saved)) -> Result<Vec<Tensor>> {
        let graph = self.graph();
        self.check(inputs)?;
        let mut values: Vec<Option<Tensor>> = Vec::with_capacity(graph.nodes().len());
        for (place, node) in graph.nodes().iter().enumerate() {
            let (y, saved) = {
                let from = node.from.iter().map(|&value| self.value(value, inputs, &values));
                node.operator.forward(&from.collect::<Result<Vec<_>>>()?)?
            };
            values.push(Some(y));
            visit(place, saved);
            for &value in &node.from {
                // What nobody reads any more is let go.
                if let Value::Node(i) = value
                    && graph.facts(value).last_use == Some(place)
                    && !graph.outputs().contains(&value)
                {
                    values[i] = None;
                }
            }
        }
        graph.outputs().iter().map(|&output| self.value(output, inputs, &values).cloned()).collect()
    }

    fn value<'a>(&'a self, value: Value, inputs: &[&'a Tensor], nodes: &'a [Option<Tensor>]) -> Result<&'a Tensor> {
        match value {
            Value::Input(i) => Ok(inputs[i]),
            Value::Parameter(i) => Ok(&self.tensors[i]),
            Value::Node(i) => match &nodes[i] {
                Some(tensor) => Ok(tensor),
                None => bail!("node {i} is read after its last use"),
            },
        }
    }

    /// The outputs with all that the ways back need.
    ///
    /// # Errors
    /// As [`Self::forward`].
    pub fn trace(&self, inputs: &[&Tensor]) -> Result<Trace<'_>> {
        self.check(inputs)?;
        Trace::new(self, inputs)
    }

    /// Whether these are batches of one size for the graph's inputs.
    fn check(&self, inputs: &[&Tensor]) -> Result<()> {
        let ports = self.graph.inputs();
        if ports.len() != inputs.len() {
            bail!("{} inputs for a network of {}", inputs.len(), ports.len())
        }
        let batch = inputs.first().map(|input| input.dims().first());
        for (i, input) in inputs.iter().enumerate() {
            let (sample, name) = (self.graph.shape(Value::Input(i)), &ports[i].name);
            match input.dims() {
                [n, dims @ ..] if dims == sample && batch == Some(Some(n)) => (),
                dims => bail!("input {name} takes [N, {sample:?}], got {dims:?}"),
            }
        }
        Ok(())
    }
}
