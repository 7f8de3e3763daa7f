//! One output of several.

use super::Rewrite;
use crate::graph::{Network, Value};
use candle_core::Result;

impl Network {
    /// The network that gives its last output alone, without what only the others need.
    ///
    /// # Errors
    /// None: its parts fit.
    pub fn last_output(&self) -> Result<Self> {
        let graph = self.graph();
        let [_, .., last] = graph.outputs() else { return Ok(self.clone()) };
        let mut needed = vec![false; graph.nodes().len()];
        let mut waiting = vec![*last];
        while let Some(value) = waiting.pop() {
            if let Value::Node(i) = value
                && !std::mem::replace(&mut needed[i], true)
            {
                waiting.extend(&graph.nodes()[i].from);
            }
        }
        let mut rewrite = Rewrite::of(self);
        for place in (0..graph.nodes().len()).filter(|&place| needed[place]) {
            rewrite.node(place, None)?;
        }
        let last = rewrite.value(*last)?;
        rewrite.new.finish(&[last])
    }
}
