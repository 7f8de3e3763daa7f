//! What depends on parameters alone, worked out.

use super::Rewrite;
use crate::graph::{Network, Role, Value};
use candle_core::{Result, Tensor};

impl Network {
    /// The network in which every value that does not depend on the inputs is a parameter, called as the first one that it
    /// was computed from.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn evaluated(&self) -> Result<Self> {
        let graph = self.graph();
        let mut rewrite = Rewrite::of(self);
        let mut computed: Vec<Option<(String, Tensor)>> = Vec::new();
        for (place, node) in graph.nodes().iter().enumerate() {
            if graph.is_of_samples(Value::Node(place)) {
                // What it reads of what has been worked out becomes a parameter here, where it is first needed.
                for &value in &node.from {
                    if let (Value::Node(i), false) = (value, graph.is_of_samples(value))
                        && let Some((name, tensor)) =
                            computed[i].clone().filter(|_| !rewrite.known.contains_key(&value))
                    {
                        let taken = (1..).map(|n| format!("{name}.{n}"));
                        let name = [name.clone()].into_iter().chain(taken).find(|name| !rewrite.new.has(name));
                        let new = rewrite.new.parameter(name.unwrap_or_default(), Role::Weight, tensor)?;
                        rewrite.known.insert(value, new);
                    }
                }
                rewrite.node(place, None)?;
                computed.push(None);
                continue;
            }
            let known = |value: Value| match value {
                Value::Parameter(i) => Some((graph.parameters()[i].name.clone(), self.tensors()[i].clone())),
                Value::Node(i) => computed[i].clone(),
                Value::Input(_) => None,
            };
            let from: Vec<(String, Tensor)> = node.from.iter().filter_map(|&value| known(value)).collect();
            let (y, _) = node.operator.forward(&from.iter().map(|(_, t)| t).collect::<Vec<_>>())?;
            let name = from.into_iter().next().map_or_else(|| format!("constant{place}"), |(name, _)| name);
            computed.push(Some((name, y)));
        }
        rewrite.finish()
    }
}
