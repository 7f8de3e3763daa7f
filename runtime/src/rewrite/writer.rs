//! The forms, as they are written: convolutions and the interleaving of their results for a layer.

use super::Layer;
use crate::graph::{Graph, Node, OWN, Setting, Text, Weight};

/// Taps of the kernel that meet an output row of even number, and of odd number, from top to bottom.
const TAPS: [[usize; 2]; 2] = [[3, 1], [2, 0]];

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

    /// A layer in the form [`Form::Apart`](super::Form::Apart).
    pub(super) fn apart(&mut self, layer: &Layer<'a>) {
        let (inputs, outputs, kernel) = (layer.inputs, layer.outputs, &layer.kernel);
        let (h, w) = layer.size;
        let part = |what: &str| -> Text<'a> { format!("{OWN}{}/{what}", layer.weight.name).into() };
        let (row_shape, shape) = (part("row"), part("image"));
        self.sizes(&row_shape, &[-1, h as i64, (2 * w * outputs) as i64]);
        self.sizes(&shape, &[-1, 2 * h as i64, 2 * w as i64, outputs as i64]);
        let phases = phases(kernel, inputs, outputs);
        let mut rows = Vec::new();
        for a in 0..2 {
            let mut pair = Vec::new();
            for c in 0..2 {
                let at = |what: &str| part(&format!("{what}{a}{c}"));
                let (weight, mut last) = (at("weight"), at("conv"));
                let (element, sizes) = (layer.weight.element, [outputs, inputs, 2, 2]);
                self.graph.weights.push(Weight::floats(weight.clone(), element, &sizes, &phases[2 * a + c]));
                let arguments: Vec<_> =
                    [&layer.input, &weight].into_iter().chain(layer.bias.as_ref().map(|bias| &bias.name)).collect();
                let pads = [1 - a, 1 - c, a, c].map(|n| n as i64);
                self.node("Conv", &arguments, &last, &[("pads", &pads), ("kernel_shape", &[2, 2])]);
                if let Some(activation) = &layer.activation {
                    let active = at("active");
                    self.activation(activation, last, &active);
                    last = active;
                }
                let pixels = at("pixels");
                self.node("Transpose", &[&last], &pixels, &[("perm", &[0, 2, 3, 1])]);
                pair.push(pixels);
            }
            let (pixels, row) = (part(&format!("pixels{a}")), part(&format!("row{a}")));
            self.counted("Concat", pair, &pixels, "axis", 3);
            self.node("Reshape", &[&pixels, &row_shape], &row, &[]);
            rows.push(row);
        }
        let (both, image) = (part("rows"), part("channels-last"));
        self.counted("Concat", rows, &both, "axis", 2);
        self.node("Reshape", &[&both, &shape], &image, &[]);
        self.node("Transpose", &[&image], &layer.output, &[("perm", &[0, 3, 1, 2])]);
    }

    /// A layer in the form [`Form::Together`](super::Form::Together).
    pub(super) fn together(&mut self, layer: &Layer<'a>) {
        let (inputs, outputs, kernel) = (layer.inputs, layer.outputs, &layer.kernel);
        let element = layer.weight.element;
        let part = |what: &str| -> Text<'a> { format!("{OWN}{}/{what}", layer.weight.name).into() };
        let (weight, four, conv) = (part("weight"), part("bias"), part("conv"));
        // Place (j, k) of the padded input gives the odd row 2 j - 1 and the even row 2 j: the odd ones come first.
        let mut phases = phases(kernel, inputs, outputs);
        phases.reverse();
        let sizes = [4 * outputs, inputs, 2, 2];
        self.graph.weights.push(Weight::floats(weight.clone(), element, &sizes, &phases.concat()));
        let mut arguments = vec![&layer.input, &weight];
        if let Some(bias) = layer.bias.as_ref().and_then(Weight::as_floats) {
            self.graph.weights.push(Weight::floats(four.clone(), element, &[4 * outputs], &bias.repeat(4)));
            arguments.push(&four);
        }
        self.node("Conv", &arguments, &conv, &[("pads", &[1; 4]), ("kernel_shape", &[2, 2])]);
        let mut last = conv;
        if let Some(activation) = &layer.activation {
            let active = part("active");
            self.activation(activation, last, &active);
            last = active;
        }
        let shuffled = part("shuffled");
        self.counted("DepthToSpace", vec![last], &shuffled, "blocksize", 2);
        let [begin, end, axes] = [("begin", [1, 1]), ("end", [-1, -1]), ("axes", [2, 3])].map(|(what, numbers)| {
            let name = part(what);
            self.sizes(&name, &numbers);
            name
        });
        self.node("Slice", &[&shuffled, &begin, &end, &axes], &layer.output, &[]);
    }
}

/// The convolutions [outputs, inputs, 2, 2] that give the rows of parity a and the columns of parity c of a transposed one
/// [inputs, outputs, 4, 4]: number 2 a + c.
fn phases(kernel: &[f32], inputs: usize, outputs: usize) -> [Vec<f32>; 4] {
    let mut phases = [(); 4].map(|()| vec![0f32; inputs * outputs * 4]);
    // Inputs by fours: then a line of the cache is written whole.
    for first in (0..inputs).step_by(4) {
        for o in 0..outputs {
            for i in first..inputs.min(first + 4) {
                let taps = &kernel[(i * outputs + o) * 16..][..16];
                for (number, phase) in phases.iter_mut().enumerate() {
                    let (rows, columns) = (TAPS[number / 2], TAPS[number % 2]);
                    let place = &mut phase[(o * inputs + i) * 4..][..4];
                    for (j, value) in place.iter_mut().enumerate() {
                        *value = taps[4 * rows[j / 2] + columns[j % 2]];
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
    fn phases_are_the_taps_of_their_parity() {
        let (inputs, outputs) = (6, 3);
        let kernel: Vec<f32> = (0..inputs * outputs * 16).map(|i| i as f32).collect();
        let phases = phases(&kernel, inputs, outputs);
        // Output row 2 j + a meets input row i = j + a - 1 + n in tap 2 j + a + 1 - 2 i; the same for columns.
        let tap = |parity: usize, n: usize| 3 - parity - 2 * n;
        for (number, phase) in phases.iter().enumerate() {
            for (at, &value) in phase.iter().enumerate() {
                let (o, i, n, m) = (at / 4 / inputs, at / 4 % inputs, at / 2 % 2, at % 2);
                let expected = kernel[(i * outputs + o) * 16 + 4 * tap(number / 2, n) + tap(number % 2, m)];
                assert_eq!(value, expected, "{number}: {at}");
            }
        }
    }
}
