//! The forms, as they are written: convolutions and the interleaving of their results for a layer, and casts where halves are
//! widened.

use super::{Layer, Node};
use crate::graph::{self, Element, Weight};
use crate::model::{INPUT_IMAGE, INPUT_LATENT, OUTPUT_IMAGE};
use crate::wire::{self, put_bytes, put_number};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::borrow::Cow;

/// Taps of the kernel that meet an output row of even number, and of odd number, from top to bottom.
const TAPS: [[usize; 2]; 2] = [[3, 1], [2, 0]];

/// No attributes.
const NONE: &[&[u8]] = &[];

/// Elements of a weight of type f16 or f32.
pub(super) fn floats(weight: &Weight<'_>, bytes: &[u8]) -> Result<Vec<f32>, String> {
    if weight.bytes() != Some(bytes.len()) {
        return Err(format!("weight {weight} has {} bytes", bytes.len()));
    }
    Ok(match weight.element {
        Element::F16 => {
            let halves: Vec<f16> = bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]])).collect();
            let mut wide = vec![0f32; halves.len()];
            halves.convert_to_f32_slice(&mut wide);
            wide
        }
        _ => bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
    })
}

/// The fields of a GraphProto, as they are written.
pub(super) struct Graph<'o> {
    pub(super) bytes: &'o mut Vec<u8>,
    /// Input and output are f16, all between them is f32.
    pub(super) widen: bool,
}

impl Graph<'_> {
    /// Casts what goes into the first nodes, if it is widened.
    pub(super) fn inputs(&mut self, nodes: &[Node<'_>]) {
        if self.widen {
            for name in [INPUT_LATENT, INPUT_IMAGE] {
                if nodes.iter().any(|node| node.inputs.contains(&name)) {
                    self.cast(name, &wide(name), Element::F32);
                }
            }
        }
    }

    fn cast(&mut self, from: &str, to: &str, element: Element) {
        self.raw_node("Cast", &[from], &[to], &[int("to", element as u64)]);
    }

    /// A node of the model.
    pub(super) fn node(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[impl AsRef<[u8]>]) {
        let is_end = |name: &str| self.widen && [INPUT_LATENT, INPUT_IMAGE, OUTPUT_IMAGE].contains(&name);
        let rename = |name: &&str| if is_end(name) { wide(name) } else { (*name).to_owned() };
        let (inputs, renamed): (Vec<_>, Vec<_>) =
            (inputs.iter().map(rename).collect(), outputs.iter().map(rename).collect());
        self.raw_node(op, &inputs, &renamed, attributes);
        if self.widen && outputs == [OUTPUT_IMAGE] {
            self.cast(&wide(OUTPUT_IMAGE), OUTPUT_IMAGE, Element::F16);
        }
    }

    fn raw_node(
        &mut self,
        op: &str,
        inputs: &[impl AsRef<str>],
        outputs: &[impl AsRef<str>],
        attributes: &[impl AsRef<[u8]>],
    ) {
        let node = wire::begin(self.bytes, 1);
        inputs.iter().for_each(|name| put_bytes(self.bytes, 1, name.as_ref().as_bytes()));
        outputs.iter().for_each(|name| put_bytes(self.bytes, 2, name.as_ref().as_bytes()));
        put_bytes(self.bytes, 4, op.as_bytes());
        attributes.iter().for_each(|attribute| put_bytes(self.bytes, 5, attribute.as_ref()));
        wire::end(self.bytes, node);
    }

    /// An initialiser of type f16 or f32.
    pub(super) fn floats(&mut self, name: &str, element: Element, shape: &[usize], values: &[f32]) {
        let bytes = match element {
            Element::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            _ if cfg!(target_endian = "little") => {
                let (data, len) = (values.as_ptr().cast::<u8>(), size_of_val(values));
                // SAFETY: numbers may be read as bytes, of which there are four each; the file has them in this order.
                Cow::from(unsafe { std::slice::from_raw_parts(data, len) })
            }
            _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        graph::put_tensor(self.bytes, name, element, shape, &bytes);
    }

    fn sizes(&mut self, name: &str, sizes: &[i64]) {
        let bytes: Vec<u8> = sizes.iter().flat_map(|n| n.to_le_bytes()).collect();
        graph::put_tensor(self.bytes, name, Element::I64, &[sizes.len()], &bytes);
    }

    /// A layer whose input has this height and width in the form [`Form::Apart`](super::Form::Apart).
    pub(super) fn apart(&mut self, layer: &Layer<'_, '_>, kernel: &[f32], bias: Option<&str>, (h, w): (usize, usize)) {
        let [inputs, outputs, ..] = layer.weight.shape[..] else { return };
        let name = layer.weight.name;
        let part = |what: &str| format!("{name}/{what}");
        let (row_shape, shape) = (part("row"), part("image"));
        self.sizes(&row_shape, &[-1, h as i64, (2 * w * outputs) as i64]);
        self.sizes(&shape, &[-1, 2 * h as i64, 2 * w as i64, outputs as i64]);
        let phases = phases(kernel, inputs, outputs);
        let mut rows = Vec::new();
        for a in 0..2 {
            let mut pair = Vec::new();
            for c in 0..2 {
                let at = |what: &str| part(&format!("{what}{a}{c}"));
                self.floats(&at("weight"), Element::F32, &[outputs, inputs, 2, 2], &phases[2 * a + c]);
                let (weight, mut last) = (at("weight"), at("conv"));
                let arguments: Vec<&str> = [layer.input, &weight].into_iter().chain(bias).collect();
                let pads = [1 - a, 1 - c, a, c].map(|n| n as i64);
                self.node("Conv", &arguments, &[&last], &[&ints("pads", &pads), &ints("kernel_shape", &[2, 2])]);
                if let Some(activation) = layer.activation {
                    let active = at("active");
                    self.node(activation.op, &[&last], &[&active], &activation.attributes);
                    last = active;
                }
                let pixels = at("pixels");
                self.node("Transpose", &[&last], &[&pixels], &[&ints("perm", &[0, 2, 3, 1])]);
                pair.push(pixels);
            }
            let (pixels, row) = (part(&format!("pixels{a}")), part(&format!("row{a}")));
            self.node("Concat", &[&pair[0], &pair[1]], &[&pixels], &[&int("axis", 3)]);
            self.node("Reshape", &[&pixels, &row_shape], &[&row], NONE);
            rows.push(row);
        }
        let (both, image) = (part("rows"), part("channels-last"));
        self.node("Concat", &[&rows[0], &rows[1]], &[&both], &[&int("axis", 2)]);
        self.node("Reshape", &[&both, &shape], &[&image], NONE);
        self.node("Transpose", &[&image], &[layer.output], &[&ints("perm", &[0, 3, 1, 2])]);
    }

    /// A layer in the form [`Form::Together`](super::Form::Together).
    pub(super) fn together(&mut self, layer: &Layer<'_, '_>, kernel: &[f32], bias: Option<&[f32]>) {
        let [inputs, outputs, ..] = layer.weight.shape[..] else { return };
        let (name, element) = (layer.weight.name, layer.weight.element);
        let part = |what: &str| format!("{name}/{what}");
        let (weight, four, conv) = (part("weight"), part("bias"), part("conv"));
        // Place (j, k) of the padded input gives the odd row 2 j - 1 and the even row 2 j: the odd ones come first.
        let mut phases = phases(kernel, inputs, outputs);
        phases.reverse();
        self.floats(&weight, element, &[4 * outputs, inputs, 2, 2], &phases.concat());
        let mut arguments = vec![layer.input, &weight];
        if let Some(bias) = bias {
            self.floats(&four, element, &[4 * outputs], &bias.repeat(4));
            arguments.push(&four);
        }
        self.node("Conv", &arguments, &[&conv], &[&ints("pads", &[1; 4]), &ints("kernel_shape", &[2, 2])]);
        let mut last = conv;
        if let Some(activation) = layer.activation {
            let active = part("active");
            self.node(activation.op, &[&last], &[&active], &activation.attributes);
            last = active;
        }
        let shuffled = part("shuffled");
        self.node("DepthToSpace", &[&last], &[&shuffled], &[&int("blocksize", 2)]);
        let cut = [("begin", [1, 1]), ("end", [-1, -1]), ("axes", [2, 3])].map(|(what, numbers)| {
            self.sizes(&part(what), &numbers);
            part(what)
        });
        let [begin, end, axes] = &cut;
        self.node("Slice", &[&shuffled, begin, end, axes], &[layer.output], NONE);
    }
}

/// The name of the f32 form of an f16 input or output.
fn wide(name: &str) -> String {
    format!("{name}/wide")
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

fn ints(name: &str, values: &[i64]) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, name.as_bytes());
    values.iter().for_each(|&n| put_number(&mut out, 8, n as u64));
    // The attribute's type: a list of integers.
    put_number(&mut out, 20, 7);
    out
}

fn int(name: &str, value: u64) -> Vec<u8> {
    let mut out = Vec::new();
    put_bytes(&mut out, 1, name.as_bytes());
    put_number(&mut out, 3, value);
    put_number(&mut out, 20, 2);
    out
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
