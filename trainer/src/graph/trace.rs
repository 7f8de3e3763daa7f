//! The way through a network and back, once.

use super::{Content, Context, Graph, Network, Saved, Value};
use crate::ops;
use candle_core::{Result, Tensor, bail};

/// What a network made of a batch, node by node.
#[derive(Clone, Debug)]
pub struct Trace<'a> {
    pub(super) network: &'a Network,
    pub(super) inputs: Vec<Tensor>,
    pub(super) nodes: Vec<(Tensor, Saved)>,
}

/// Which gradients are wanted; the others are not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wanted {
    /// With respect to the inputs.
    pub inputs: bool,
    /// With respect to the parameters that are learned.
    pub parameters: bool,
}

impl Wanted {
    /// Those of the parameters only.
    pub const PARAMETERS: Self = Self { inputs: false, parameters: true };
    /// Those of the inputs only.
    pub const INPUTS: Self = Self { inputs: true, parameters: false };
    /// All.
    pub const ALL: Self = Self { inputs: true, parameters: true };

    /// Whether the gradient with respect to a value is needed on the way to those that are wanted.
    pub(super) fn reaches(self, graph: &Graph, value: Value) -> bool {
        let facts = graph.facts(value);
        let numbers = |i: usize| graph.inputs()[i].content == Content::Numbers;
        match value {
            Value::Input(i) => self.inputs && numbers(i),
            _ => self.parameters && facts.learned || self.inputs && facts.of_samples,
        }
    }
}

/// Gradients of a loss, as far as they were wanted and are not zero.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// With respect to each input.
    pub inputs: Vec<Option<Tensor>>,
    /// With respect to each parameter.
    pub parameters: Vec<Option<Tensor>>,
}

impl Gradients {
    pub(super) fn none(graph: &Graph) -> Self {
        Self { inputs: vec![None; graph.inputs().len()], parameters: vec![None; graph.parameters().len()] }
    }

    /// That of the first input.
    ///
    /// # Errors
    /// It is zero, or was not wanted.
    pub fn input(mut self) -> Result<Tensor> {
        match self.inputs.first_mut().and_then(Option::take) {
            Some(gradient) => Ok(gradient),
            None => bail!("the network passes no gradient on to its first input"),
        }
    }
}

/// Adds a gradient to those of the same value that came before.
pub(super) fn add(slot: &mut Option<Tensor>, gradient: Tensor) -> Result<()> {
    *slot = Some(match slot.take() {
        Some(before) => ops::add(&before, &gradient)?,
        None => gradient,
    });
    Ok(())
}

impl<'a> Trace<'a> {
    pub(super) fn new(network: &'a Network, inputs: &[&Tensor]) -> Result<Self> {
        let inputs = inputs.iter().map(|&input| input.clone()).collect();
        let nodes = Vec::with_capacity(network.graph().nodes().len());
        let mut trace = Self { network, inputs, nodes };
        for node in network.graph().nodes() {
            let from: Vec<_> = node.from.iter().map(|&value| trace.value(value)).collect();
            let made = node.operator.forward(&from)?;
            trace.nodes.push(made);
        }
        Ok(trace)
    }

    /// What a value was.
    pub(super) fn value(&self, value: Value) -> &Tensor {
        match value {
            Value::Input(i) => &self.inputs[i],
            Value::Parameter(i) => &self.network.tensors()[i],
            Value::Node(i) => &self.nodes[i].0,
        }
    }

    /// The first output.
    pub fn output(&self) -> &Tensor {
        self.value(self.network.graph().outputs()[0])
    }

    /// The output at this place; none where there are fewer.
    pub fn output_at(&self, place: usize) -> Option<&Tensor> {
        self.network.graph().outputs().get(place).map(|&output| self.value(output))
    }

    /// New values of the parameters that are kept but not learned, by their place among the parameters.
    pub fn updates(&self) -> Vec<(usize, Tensor)> {
        let nodes = self.network.graph().nodes().iter().zip(&self.nodes);
        let updates = nodes.flat_map(|(node, (_, saved))| {
            node.operator.updates(saved).into_iter().filter_map(|(operand, tensor)| match node.from[operand] {
                Value::Parameter(i) => Some((i, tensor)),
                _ => None,
            })
        });
        updates.collect()
    }

    /// The part of the trace that belongs to `count` samples from `first` on, in the same memory.
    ///
    /// # Errors
    /// A network in which samples see each other; samples that are not there.
    pub fn rows(&self, first: usize, count: usize) -> Result<Self> {
        let graph = self.network.graph();
        if let Some(operator) = graph.mixes_samples() {
            bail!("{operator:?} mixes samples: its trace has no parts")
        }
        let part = |t: &Tensor| t.narrow(0, first, count);
        let inputs = self.inputs.iter().map(part).collect::<Result<_>>()?;
        let nodes = self.nodes.iter().zip(&graph.of_nodes).map(|((y, saved), facts)| match facts.of_samples {
            true => Ok((part(y)?, saved.iter().map(part).collect::<Result<_>>()?)),
            false => Ok((y.clone(), saved.clone())),
        });
        Ok(Self { network: self.network, nodes: nodes.collect::<Result<_>>()?, inputs })
    }

    /// The gradients of a loss, from its gradient with respect to the first output.
    ///
    /// # Errors
    /// A gradient of another shape than the output's.
    pub fn backward(self, grad: &Tensor, wanted: Wanted) -> Result<Gradients> {
        self.backward_from(&[Some(grad)], wanted)
    }

    /// The gradients of a loss, from its gradients with respect to the outputs, in their order, as far as it depends on them.
    ///
    /// # Errors
    /// A gradient of another shape than its output's; more of them than outputs.
    pub fn backward_from(mut self, grads: &[Option<&Tensor>], wanted: Wanted) -> Result<Gradients> {
        let graph = self.network.graph();
        if grads.len() > graph.outputs().len() {
            bail!("{} gradients for {} outputs", grads.len(), graph.outputs().len())
        }
        let (mut found, mut slots) = (Gradients::none(graph), vec![None; graph.nodes().len()]);
        for (&output, grad) in graph.outputs().iter().zip(grads) {
            let (Some(grad), of) = (grad, self.value(output)) else { continue };
            if grad.shape() != of.shape() {
                bail!("the gradient is {:?}, the output {:?}", grad.dims(), of.dims())
            }
            add(slot(output, &mut slots, &mut found), grad.detach().to_dtype(of.dtype())?)?;
        }
        for place in (0..graph.nodes().len()).rev() {
            // What has been passed is let go; all that reads it lies behind.
            let Some((y, saved)) = self.nodes.pop() else { bail!("node {place} was passed before") };
            if let Some(grad) = slots[place].take() {
                self.node_backward(place, (&y, &saved), &grad, wanted, &mut slots, &mut found)?;
            }
        }
        Ok(found)
    }

    /// Hands the gradient with respect to a node on to what it reads.
    pub(super) fn node_backward(
        &self,
        place: usize,
        (y, saved): (&Tensor, &[Tensor]),
        grad: &Tensor,
        wanted: Wanted,
        slots: &mut [Option<Tensor>],
        found: &mut Gradients,
    ) -> Result<()> {
        let graph = self.network.graph();
        let node = &graph.nodes()[place];
        let from: Vec<&Tensor> = node.from.iter().map(|&value| self.value(value)).collect();
        let reaches: Vec<bool> = node.from.iter().map(|&value| wanted.reaches(graph, value)).collect();
        if !reaches.contains(&true) {
            return Ok(());
        }
        let gradients = node.operator.backward(Context { from: &from, y, saved }, grad, &reaches)?;
        for ((&value, gradient), reaches) in node.from.iter().zip(gradients).zip(reaches) {
            if let Some(gradient) = gradient.filter(|_| reaches) {
                add(slot(value, slots, found), gradient)?;
            }
        }
        Ok(())
    }
}

/// Where the gradient with respect to a value is added up.
pub(super) fn slot<'a>(
    value: Value,
    nodes: &'a mut [Option<Tensor>],
    found: &'a mut Gradients,
) -> &'a mut Option<Tensor> {
    match value {
        Value::Input(i) => &mut found.inputs[i],
        Value::Parameter(i) => &mut found.parameters[i],
        Value::Node(i) => &mut nodes[i],
    }
}
