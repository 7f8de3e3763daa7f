//! Batch normalisation with fixed statistics.

use super::{Rewrite, is_read_once, parameter};
use crate::graph::operator::Outputs;
use crate::graph::operators::{BatchNorm, ChannelAffine, Reshape};
use crate::graph::{Network, Operator, Role, Value};
use crate::ops::BatchStatistics;
use candle_core::{Result, Tensor, bail};
use std::any::Any;
use std::sync::Arc;

impl Network {
    /// The statistics that each batch normalisation finds in a batch, first to last. Where there is none, nothing is
    /// computed.
    ///
    /// # Errors
    /// As [`Network::forward`].
    pub fn batch_statistics(&self, inputs: &[&Tensor]) -> Result<Vec<BatchStatistics>> {
        let mut found = Vec::new();
        if !self.graph().nodes().iter().any(|node| batch_norm(&*node.operator).is_some()) {
            return Ok(found);
        }
        self.outputs(inputs, |place, saved| {
            if batch_norm(&*self.graph().nodes()[place].operator).is_some() {
                found.extend(saved.into_iter().map(BatchStatistics::from_moments));
            }
        })?;
        Ok(found)
    }

    /// The network that computes the same with fixed statistics, one for each batch normalisation in order: with
    /// `a = gamma / sqrt(variance + eps)`, it becomes the map `a x + beta - a mean` of each channel, and where it follows a
    /// linear layer or a convolution (a reshape to an image may lie between), that layer's weights become `a w` and its
    /// biases `a b + beta - a mean`. Computed in the weights' own type, before any rounding to half precision.
    ///
    /// # Errors
    /// Another number of statistics.
    pub fn frozen(&self, statistics: &[BatchStatistics]) -> Result<Self> {
        let graph = self.graph();
        let mut statistics = statistics.iter();
        // By the node that is replaced: its new operator, and new weights and biases.
        let mut layers: Vec<Option<Folded>> = vec![None; graph.nodes().len()];
        let mut affine: Vec<Option<(Tensor, Tensor)>> = vec![None; graph.nodes().len()];
        for (place, node) in graph.nodes().iter().enumerate() {
            let Some(norm) = batch_norm(&*node.operator) else { continue };
            let Some(found) = statistics.next() else { bail!("no statistics for {:?}", node.operator) };
            let [Some((_, gamma)), Some((_, beta))] = [node.from[1], node.from[2]].map(|v| parameter(self, v)) else {
                bail!("scale and shift of a batch normalisation are parameters")
            };
            let map = map_of(gamma, beta, norm.eps, found)?;
            match self.layer_before(node.from[0], norm) {
                Some((at, outputs, operator)) => layers[at] = Some(self.folded(at, outputs, operator, &map)?),
                None => affine[place] = Some(map),
            }
        }
        if statistics.next().is_some() {
            bail!("more statistics than batch normalisations")
        }

        let mut rewrite = Rewrite::of(self);
        for (place, node) in graph.nodes().iter().enumerate() {
            match (layers[place].take(), affine[place].take(), batch_norm(&*node.operator)) {
                (Some(layer), _, _) => {
                    let x = rewrite.value(node.from[0])?;
                    let weight = rewrite.new.parameter(layer.weight.0, Role::Weight, layer.weight.1)?;
                    let bias = rewrite.new.parameter(layer.bias.0, Role::Vector, layer.bias.1)?;
                    let made = rewrite.new.node(layer.operator, &[x, weight, bias])?;
                    rewrite.known.insert(Value::Node(place), made);
                }
                (_, Some((scale, shift)), Some(norm)) => {
                    let x = rewrite.value(node.from[0])?;
                    let name = |i: usize| parameter(self, node.from[i]).map_or("", |(name, _)| name).to_owned();
                    let scale = rewrite.new.parameter(name(1), Role::Vector, scale)?;
                    let shift = rewrite.new.parameter(name(2), Role::Vector, shift)?;
                    let operator = ChannelAffine { activation: norm.activation };
                    let made = rewrite.new.apply(operator, &[x, scale, shift])?;
                    rewrite.known.insert(Value::Node(place), made);
                }
                // It is part of the layer before.
                (_, _, Some(_)) => {
                    let before = rewrite.value(node.from[0])?;
                    rewrite.known.insert(Value::Node(place), before);
                }
                _ => {
                    rewrite.node(place, None)?;
                }
            }
        }
        rewrite.finish()
    }

    /// The layer whose result a batch normalisation alone reads, with the same that has its activation.
    fn layer_before(&self, value: Value, norm: &BatchNorm) -> Option<(usize, Outputs, Arc<dyn Operator>)> {
        let nodes = self.graph().nodes();
        let read = |value: Value| match value {
            Value::Node(i) if is_read_once(self, value) => Some(i),
            _ => None,
        };
        let mut at = read(value)?;
        // A vector that becomes an image has its channels in turn; of an image that becomes a vector, they are other things.
        if (&*nodes[at].operator as &dyn Any).is::<Reshape>() && self.graph().shape(nodes[at].from[0]).len() == 1 {
            at = read(nodes[at].from[0])?;
        }
        let (outputs, operator) = nodes[at].operator.layer(norm.activation)?;
        let own = |&value: &Value| parameter(self, value).is_some() && is_read_once(self, value);
        nodes[at].from[1..].iter().all(own).then_some((at, outputs, operator))
    }

    /// The layer at `at` with a map of its channels after it. A linear layer whose outputs become an image has all channels
    /// of the first position, then all of the second.
    fn folded(
        &self,
        at: usize,
        outputs: Outputs,
        operator: Arc<dyn Operator>,
        (scale, shift): &(Tensor, Tensor),
    ) -> Result<Folded> {
        let from = &self.graph().nodes()[at].from;
        let Some((name, weight)) = parameter(self, from[1]) else { bail!("a layer without a weight") };
        let axis = if outputs == Outputs::First { 0 } else { weight.rank() - 1 };
        let (count, channels) = (weight.dim(axis)?, scale.dims1()?);
        if count % channels != 0 {
            bail!("{name}: {count} outputs are no multiple of {channels} channels")
        }
        let repeated = |t: &Tensor| t.repeat(count / channels);
        let (scale, shift) = (repeated(scale)?, repeated(shift)?);
        let mut along = vec![1; weight.rank()];
        along[axis] = count;
        let bias_name =
            name.strip_suffix("weight").map_or_else(|| format!("{name}.bias"), |stem| format!("{stem}bias"));
        Ok(Folded {
            operator,
            weight: (name.to_owned(), weight.broadcast_mul(&scale.reshape(along)?)?),
            bias: match from.get(2).and_then(|&value| parameter(self, value)) {
                Some((name, bias)) => (name.to_owned(), ((bias * scale)? + shift)?),
                None => (bias_name, shift),
            },
        })
    }
}

/// A layer with what followed it.
#[derive(Clone, Debug)]
struct Folded {
    operator: Arc<dyn Operator>,
    weight: (String, Tensor),
    bias: (String, Tensor),
}

pub(super) fn batch_norm(operator: &dyn Operator) -> Option<&BatchNorm> {
    (operator as &dyn Any).downcast_ref()
}

/// The scale and shift of each channel that a normalisation with fixed statistics amounts to.
fn map_of(gamma: &Tensor, beta: &Tensor, eps: f64, found: &BatchStatistics) -> Result<(Tensor, Tensor)> {
    let to_tensor = |values: Vec<f64>| Tensor::new(values, gamma.device())?.to_dtype(gamma.dtype());
    let [mean, variance] = found.vectors()?;
    let inverse_sigma = to_tensor(variance.iter().map(|v| (v + eps).sqrt().recip()).collect())?;
    let scale = (gamma * inverse_sigma)?;
    let shift = (beta - (to_tensor(mean)? * &scale)?)?;
    Ok((scale, shift))
}
