//! Layers as ordinary convolutions, and the interleaving of their results.

use super::Layer;
use super::window::Window;
use crate::graph::{Graph, Node, OWN, Setting, Text, Weight};

/// Writes layers into a graph.
pub(super) struct Writer<'g, 'a> {
    pub(super) graph: &'g mut Graph<'a>,
}

impl<'a> Writer<'_, 'a> {
    fn node(&mut self, op: &'static str, inputs: &[&Text<'a>], output: &Text<'a>, settings: &[(&'static str, &[i64])]) {
        let node = Node::new(op, inputs.iter().map(|name| (*name).clone()).collect(), output.clone());
        self.graph
            .nodes
            .push(settings.iter().fold(node, |node, (name, numbers)| node.with(name, Setting::Ints(numbers.to_vec()))));
    }

    fn counted(&mut self, op: &'static str, inputs: Vec<Text<'a>>, output: &Text<'a>, name: &'static str, number: i64) {
        self.graph.nodes.push(Node::new(op, inputs, output.clone()).with(name, Setting::Int(number)));
    }

    fn activation(&mut self, activation: &Node<'a>, input: Text<'a>, output: &Text<'a>) {
        let (inputs, outputs) = (vec![input], vec![output.clone()]);
        self.graph.nodes.push(Node { inputs, outputs, ..activation.clone() });
    }

    fn sizes(&mut self, name: &Text<'a>, sizes: &[i64]) {
        self.graph.weights.push(Weight::sizes(name.clone(), sizes));
    }

    /// A layer as one convolution.
    pub(super) fn together(&mut self, layer: &Layer<'a>) {
        let (inputs, outputs, kernel) = (layer.inputs, layer.outputs, &layer.kernel);
        let element = layer.weight.element;
        let part = |what: &str| -> Text<'a> { format!("{OWN}{}/{what}", layer.weight.name).into() };
        let (weight, many, conv) = (part("weight"), part("bias"), part("conv"));
        let (stride, taps) = (layer.window.stride, layer.window.taps());
        let all = stride * stride * outputs;
        let phases = phases(kernel, inputs, outputs, &layer.window).concat();
        let sizes = [all, inputs, taps[0], taps[1]];
        self.graph.weights.push(Weight::floats(weight.clone(), element, &sizes, &phases));
        let mut arguments = vec![&layer.input, &weight];
        if let Some(bias) = layer.bias.as_ref().and_then(Weight::as_floats) {
            self.graph.weights.push(Weight::floats(many.clone(), element, &[all], &bias.repeat(stride * stride)));
            arguments.push(&many);
        }
        let [rows, columns] = taps.map(|n| n as i64);
        let pads = [rows - 1, columns - 1, rows - 1, columns - 1];
        self.node("Conv", &arguments, &conv, &[("pads", &pads), ("kernel_shape", &[rows, columns])]);
        let mut last = conv;
        if let Some(activation) = &layer.activation {
            let active = part("active");
            self.activation(activation, last, &active);
            last = active;
        }
        let shuffled = part("shuffled");
        if stride > 1 {
            self.counted("DepthToSpace", vec![last], &shuffled, "blocksize", stride as i64);
            last = shuffled;
        }
        let first = layer.window.before;
        let sizes = layer.window.output(layer.size);
        let ends = [first[0] + sizes[0], first[1] + sizes[1]];
        let [begin, end, axes] = [("begin", first), ("end", ends), ("axes", [2, 3])].map(|(what, numbers)| {
            let name = part(what);
            self.sizes(&name, &numbers);
            name
        });
        self.node("Slice", &[&last, &begin, &end, &axes], &layer.output, &[]);
    }
}

/// The convolutions [outputs, inputs, taps, taps] that a transposed one [inputs, outputs, height, width] is made of: number
/// `stride * r + c` gives the rows p for which p + padding leaves the remainder r, and the columns of remainder c.
///
/// Row p of the output gets input row i by tap p + padding - stride i. With p + padding = stride q + r that is the tap
/// r + stride m of row q - m: there are as many m as the kernel is strides long, and convolutions go through rows upwards.
fn phases(kernel: &[f32], inputs: usize, outputs: usize, window: &Window) -> Vec<Vec<f32>> {
    let (stride, [rows, columns], [height, width]) = (window.stride, window.taps(), window.kernel);
    // For each convolution, places in its kernel, and the taps that come there; the other places stay 0.
    let moves = |number: usize| -> Vec<(usize, usize)> {
        let (r, c) = (number / stride, number % stride);
        let places = (0..rows).flat_map(|n| (0..columns).map(move |m| (n, m)));
        places
            .map(|(n, m)| (n * columns + m, r + stride * (rows - 1 - n), c + stride * (columns - 1 - m)))
            .filter(|&(_, row, column)| row < height && column < width)
            .map(|(place, row, column)| (place, row * width + column))
            .collect()
    };
    let moves: Vec<_> = (0..stride * stride).map(moves).collect();
    let (size, taps) = (rows * columns, height * width);
    let mut phases = vec![vec![0f32; inputs * outputs * size]; moves.len()];
    // Inputs by fours: then a line of the cache is written whole.
    for first in (0..inputs).step_by(4) {
        for o in 0..outputs {
            for i in first..inputs.min(first + 4) {
                let taps = &kernel[(i * outputs + o) * taps..][..taps];
                for (phase, moves) in phases.iter_mut().zip(&moves) {
                    let place = &mut phase[(o * inputs + i) * size..][..size];
                    for &(to, from) in moves {
                        place[to] = taps[from];
                    }
                }
            }
        }
    }
    phases
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phases_are_the_taps_of_their_remainder() {
        let (inputs, outputs) = (6, 3);
        let kernel: Vec<f32> = (0..inputs * outputs * 16).map(|i| i as f32).collect();
        let node = Node::new("ConvTranspose", vec![], "y".into());
        let node = node.with("strides", Setting::Ints(vec![2; 2])).with("pads", Setting::Ints(vec![1; 4]));
        let window = Window::of(&node, [4; 2]).expect("a window");
        let phases = phases(&kernel, inputs, outputs, &window);
        assert_eq!(phases.len(), 4);
        // Output row 2 j + a meets input row i = j + a - 1 + n in tap 2 j + a + 1 - 2 i; the same for columns.
        let tap = |parity: usize, n: usize| 3 - parity - 2 * n;
        for (number, phase) in phases.iter().rev().enumerate() {
            for (at, &value) in phase.iter().enumerate() {
                let (o, i, n, m) = (at / 4 / inputs, at / 4 % inputs, at / 2 % 2, at % 2);
                let expected = kernel[(i * outputs + o) * 16 + 4 * tap(number / 2, n) + tap(number % 2, m)];
                assert_eq!(value, expected, "{number}: {at}");
            }
        }
    }
}
