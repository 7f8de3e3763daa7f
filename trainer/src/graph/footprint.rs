//! How much memory the passes through a network take, from shapes alone: no weights are needed, and nothing is computed.
//!
//! Counts are in elements, and saturate. What operators keep beside their results, such as statistics of channels, is too
//! little to be counted.

use super::operators::Reshape;
use super::{Graph, Value, Wanted};
use crate::ops::Scratch;
use candle_core::Result;
use std::any::Any;

impl Graph {
    /// Of all parameters.
    pub fn parameter_elements(&self) -> u64 {
        total((0..self.parameters.len()).map(|i| self.elements(Value::Parameter(i), 1)))
    }

    /// Of a value for a batch of so many samples.
    pub fn elements(&self, value: Value, batch: usize) -> u64 {
        let batch = if self.is_of_samples(value) { batch } else { 1 };
        self.shape(value).iter().fold(batch as u64, |product, &size| product.saturating_mul(size as u64))
    }

    /// Of what a trace keeps of a batch, its inputs aside.
    pub fn trace_elements(&self, batch: usize) -> u64 {
        total((0..self.nodes.len()).map(|place| self.kept(place, batch)))
    }

    /// The most at a time on the way of a batch to the outputs, without a trace and without the inputs.
    pub fn forward_elements(&self, batch: usize) -> u64 {
        let (mut live, mut most) = (0u64, 0);
        for (place, node) in self.nodes.iter().enumerate() {
            live = live.saturating_add(self.elements(Value::Node(place), batch));
            most = live.max(most);
            for (i, &value) in node.from.iter().enumerate() {
                let last = self.facts(value).last_use == Some(place) && !node.from[..i].contains(&value);
                if matches!(value, Value::Node(_)) && last && !self.outputs.contains(&value) {
                    live = live.saturating_sub(self.elements(value, batch));
                }
            }
        }
        most
    }

    /// The most at a time on the way of a batch's trace back: what is left of it, gradients on the way, and those of
    /// parameters.
    pub fn backward_elements(&self, batch: usize, wanted: Wanted) -> u64 {
        let output = self.outputs[0];
        let mut waiting = vec![output];
        let mut live = self.trace_elements(batch).saturating_add(self.elements(output, batch));
        let mut most = live;
        for (place, node) in self.nodes.iter().enumerate().rev() {
            let value = Value::Node(place);
            if waiting.contains(&value) {
                let reached = || node.from.iter().copied().filter(|&from| wanted.reaches(self, from));
                // That of the result, and the same before its activation.
                let own = self.elements(value, batch);
                let handed = total(reached().map(|from| self.elements(from, batch)));
                most = most.max(live.saturating_add(own).saturating_add(handed));
                for from in reached() {
                    if !waiting.contains(&from) {
                        waiting.push(from);
                        live = live.saturating_add(self.elements(from, batch));
                    }
                }
                live = live.saturating_sub(own);
            }
            live = live.saturating_sub(self.kept(place, batch));
        }
        most
    }

    /// The largest memory that one of its operators works in.
    ///
    /// # Errors
    /// None: its shapes fit.
    pub fn scratch(&self, batch: usize) -> Result<Scratch> {
        let mut most = Scratch::default();
        for node in &self.nodes {
            let from: Vec<&[usize]> = node.from.iter().map(|&value| self.shape(value)).collect();
            let found = node.operator.scratch(&from, batch)?;
            most.shared = most.shared.max(found.shared);
            most.of_thread = most.of_thread.max(found.of_thread);
            most.of_gpu = most.of_gpu.max(found.of_gpu);
        }
        Ok(most)
    }

    /// Multiplications of a sample's way to the outputs.
    pub fn multiplications(&self) -> u64 {
        total(self.nodes.iter().enumerate().map(|(place, node)| {
            let from: Vec<&[usize]> = node.from.iter().map(|&value| self.shape(value)).collect();
            node.operator.multiplications(&from, self.shape(Value::Node(place)))
        }))
    }

    /// How many samples, 1 to `most`, fit into so many bytes on their way to the outputs in single precision.
    pub fn samples_within(&self, bytes: u64, most: usize) -> usize {
        let fits = |&n: &usize| self.forward_elements(n).saturating_mul(size_of::<f32>() as u64) <= bytes;
        (1..=most).rev().find(fits).unwrap_or(1)
    }

    /// Of the result of a node that has memory of its own.
    fn kept(&self, place: usize, batch: usize) -> u64 {
        let operator: &dyn Any = &*self.nodes[place].operator;
        if operator.is::<Reshape>() { 0 } else { self.elements(Value::Node(place), batch) }
    }
}

fn total(counts: impl Iterator<Item = u64>) -> u64 {
    counts.fold(0, u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Init, Layers, Window};
    use crate::ops::Activation;

    /// [4] -> dense 32 -> [4, 4, 2] -> transposed [8, 8, 3] -> convolution [8, 8, 1], read by the output alone.
    fn graph() -> Result<Graph> {
        let (mut init, relu) = (Init::dry(), Activation::RELU);
        let mut layers = Layers::new(&mut init);
        let z = layers.graph.input("z", &[4]);
        let x = layers.linear("dense", z, 32, 1., true, relu)?;
        let x = layers.reshape(x, &[4, 4, 2])?;
        let x = layers.transposed("up", x, (3, &Window::square(4, 2, 1)), 1., false, relu)?;
        let x = layers.convolution("image", x, (1, &Window::square(3, 1, 1)), 1., true, relu)?;
        Ok(layers.graph.finish(&[x])?.graph().clone())
    }

    #[test]
    fn counts_are_those_by_hand() -> Result<()> {
        let graph = graph()?;
        let parameters = 32 * 4 + 32 + 2 * 16 * 3 + 9 * 3 + 1;
        assert_eq!(graph.parameter_elements(), parameters);
        // Each weight: once, at 4 x 4 places, at 8 x 8.
        assert_eq!(graph.multiplications(), 32 * 4 + 16 * (2 * 16 * 3) + 64 * (9 * 3));
        // Dense, up, image; the reshape is a view.
        assert_eq!(graph.trace_elements(5), 5 * (32 + 192 + 64));
        // The largest pair of values after each other.
        assert_eq!(graph.forward_elements(5), 5 * (192 + 64));
        // At the last layer: all of the trace, its gradient twice, those of what it reads.
        let at_image = 5 * (32 + 192 + 64) + 2 * 5 * 64 + 5 * 192 + 28;
        // At the one before the image and its gradient are gone, but the gradients of the image's parameters are there.
        let at_up = 5 * (32 + 192) + 28 + 2 * 5 * 192 + 5 * 32 + 96;
        assert!(at_image < at_up);
        assert_eq!(graph.backward_elements(5, Wanted::PARAMETERS), at_up);
        Ok(())
    }

    #[test]
    fn samples_fit_as_long_as_their_values_do() -> Result<()> {
        let graph = graph()?;
        let one = 4 * (192 + 64);
        assert_eq!(graph.samples_within(10 * one, 1024), 10);
        assert_eq!(graph.samples_within(11 * one - 1, 1024), 10);
        assert_eq!(graph.samples_within(u64::MAX, 1024), 1024);
        assert_eq!(graph.samples_within(0, 1024), 1);
        Ok(())
    }

    /// In patches and in parts of weights' gradients.
    #[test]
    fn the_largest_scratch_is_found() -> Result<()> {
        // One image: 8 x 8 patches of 9 taps of 3 channels, where the layer before has 4 x 4 of 16 taps.
        let found = graph()?.scratch(1)?;
        assert_eq!((found.of_thread, found.shared), (64 * 9 * 3, 2 * 16 * 3));
        // Of many, 32 make a task, where the last layer has 8; gradients are added up in 8 parts.
        let found = graph()?.scratch(1000)?;
        assert_eq!((found.of_thread, found.shared), (32 * 16 * 16 * 3, 8 * 2 * 16 * 3));
        Ok(())
    }

    /// No weight is made, whatever its size: no machine has room for one of these.
    #[test]
    fn sizes_beyond_all_memory_are_counted() -> crate::Result<()> {
        let hostile = [
            ("generator.width", toml::Value::from(1024)),
            ("discriminator.width", 1024.into()),
            ("training.batch", 4096.into()),
        ];
        let overrides: Vec<_> = hostile.map(|(key, value)| (key.to_owned(), value)).into();
        let recipe = crate::recipe::Recipe::load("digits", &overrides)?;
        let side = runtime::MAX_SIDE;
        let (g, d) = recipe.outlines(runtime::ImageShape { channels: 3, height: side, width: side })?;
        for graph in [g.graph(), d.graph()] {
            assert!(graph.parameter_elements() > 1 << 40);
            assert!(graph.backward_elements(4096, Wanted::ALL) > 1 << 40);
            assert!(graph.scratch(4096)?.shared > 1 << 40);
            assert_eq!(graph.samples_within(512 << 20, 1024), 1);
        }
        Ok(())
    }
}
