//! Networks that compute the same as another one, in a form for sampling or for a file.
//!
//! - [`Network::frozen`]: batch normalisation with fixed statistics, folded into the layer before it where there is one.
//! - [`Network::evaluated`]: what depends on parameters alone, such as a spectral norm, worked out.
//! - [`Network::last_output`]: one output, of a network that has others for training.
//! - [`Network::with_straight_alpha`]: colours that are not multiplied by alpha, as image files have them.
//! - [`Network::quantised`]: layers that double an image, in integers.
//! - [`Network::turned`]: vectors that are images list their elements as the file does.
//! - [`Network::with_virtual_norm`]: batch normalisation of each sample by itself, beside a batch that is kept.
//!
//! [`Network::frozen`]: super::Network::frozen
//! [`Network::evaluated`]: super::Network::evaluated
//! [`Network::last_output`]: super::Network::last_output
//! [`Network::with_straight_alpha`]: super::Network::with_straight_alpha
//! [`Network::quantised`]: super::Network::quantised
//! [`Network::turned`]: super::Network::turned
//! [`Network::with_virtual_norm`]: super::Network::with_virtual_norm

mod evaluate;
mod freeze;
mod last;
mod quantise;
mod straight;
mod turn;
mod virtual_norm;

use super::{Builder, Network, Operator, Value};
use candle_core::{Result, Tensor};
use std::collections::HashMap;
use std::sync::Arc;

/// A network that is written anew, value by value.
struct Rewrite<'a> {
    old: &'a Network,
    new: Builder,
    known: HashMap<Value, Value>,
}

impl<'a> Rewrite<'a> {
    /// With the inputs of `old`.
    fn of(old: &'a Network) -> Self {
        let (mut new, mut known) = (Builder::new(), HashMap::new());
        for (i, port) in old.graph().inputs().iter().enumerate() {
            let value = Value::Input(i);
            known.insert(value, new.port(port.clone(), old.graph().shape(value)));
        }
        Self { old, new, known }
    }

    /// What stands for an old value; parameters are taken over when they are first asked for.
    fn value(&mut self, old: Value) -> Result<Value> {
        if let Some(&new) = self.known.get(&old) {
            return Ok(new);
        }
        let Value::Parameter(i) = old else { candle_core::bail!("{old:?} is read before it is written") };
        let parameter = &self.old.graph().parameters()[i];
        let new = self.new.parameter(parameter.name.clone(), parameter.role, self.old.tensors()[i].clone())?;
        self.known.insert(old, new);
        Ok(new)
    }

    /// A node as it was, or with another operator.
    fn node(&mut self, place: usize, operator: Option<Arc<dyn Operator>>) -> Result<Value> {
        let node = &self.old.graph().nodes()[place];
        let from = node.from.iter().map(|&value| self.value(value)).collect::<Result<Vec<_>>>()?;
        let made = self.new.node(operator.unwrap_or_else(|| node.operator.clone()), &from)?;
        self.known.insert(Value::Node(place), made);
        Ok(made)
    }

    fn finish(mut self) -> Result<Network> {
        let outputs = self.old.graph().outputs().iter().map(|&value| self.value(value)).collect::<Result<Vec<_>>>()?;
        self.new.finish(&outputs)
    }
}

/// The numbers of a value that is a parameter, and its name.
fn parameter(network: &Network, value: Value) -> Option<(&str, &Tensor)> {
    match value {
        Value::Parameter(i) => Some((&network.graph().parameters()[i].name, &network.tensors()[i])),
        _ => None,
    }
}

/// Whether exactly one node reads the value, and nobody else.
fn is_read_once(network: &Network, value: Value) -> bool {
    network.graph().uses(value) == 1
}
