//! The same generator, written so that ONNX Runtime computes it faster on some processors.
//!
//! A transposed convolution of kernel 4, stride 2 and padding 1, the one that every DCGAN is made of, is four convolutions of
//! kernel 2, one for each parity of the output's row and column; they read the same input, and their results are interleaved
//! by copies of whole pixels and rows. ONNX Runtime's blocked convolutions (x86-64) come nearer to the processor's peak than
//! its transposed ones. Half-precision weights are widened at once, so that nothing is converted between the layers.
//!
//! What it is worth, and where it loses, is measured: `benches/RESULTS.md`. A model with anything in it that is not known here
//! is left as it is.

use crate::graph::{self, Data, Element, Weight};
use crate::model::{INPUT_IMAGE, INPUT_LATENT, OUTPUT_IMAGE};
use crate::wire::{self, Field, Value, fields, put_bytes, put_number};
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::borrow::Cow;
use std::collections::HashMap;

/// Operators of which neither shape nor precision of their surroundings is part.
const KNOWN: [&str; 10] =
    ["Add", "Concat", "ConvTranspose", "Gather", "Gemm", "LeakyRelu", "Mul", "Relu", "Reshape", "Tanh"];
/// Channels in one block of the blocked convolutions: layers with fewer or other numbers of them lose.
const BLOCK: usize = 8;
/// Taps of the kernel that meet an output row of even number, and of odd number, from top to bottom.
const TAPS: [[usize; 2]; 2] = [[3, 1], [2, 0]];

/// Most nodes of a model that is looked at: every layer is compared with all of them.
const MAX_NODES: usize = 1024;

/// No attributes.
const NONE: &[&[u8]] = &[];

/// Whether the rewritten form is known to win on this processor. With AVX-512 it has not been measured.
pub(crate) fn pays_here() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2") && !std::arch::is_x86_feature_detected!("avx512f");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// A node, taken apart.
#[derive(Clone, Debug, Default)]
struct Node<'a> {
    inputs: Vec<&'a str>,
    outputs: Vec<&'a str>,
    op: &'a str,
    /// AttributeProtos.
    attributes: Vec<&'a [u8]>,
}

/// `model` in its faster form, with its weights inside; `None` if it has none.
///
/// # Errors
/// Bytes that are no model, and what `data` refuses.
pub(crate) fn faster<'a>(
    model: &'a [u8],
    mut data: impl FnMut(&Weight<'a>) -> Result<Data<'a>, String>,
) -> Result<Option<Vec<u8>>, String> {
    let graph = graph::graph(model)?;
    let Some(nodes) = nodes(graph)? else { return Ok(None) };
    let mut weights = HashMap::new();
    for field in fields(graph) {
        if let Field { number: 5, value: Value::Bytes(tensor), .. } = field? {
            // Elements that are given in another way than as bytes could not be widened.
            let Some(weight) = graph::weight(tensor)? else { return Ok(None) };
            weights.insert(weight.name, weight);
        }
    }
    let half = weights.values().any(|weight| weight.element == Element::F16);
    let sizes = image_sizes(&nodes, &weights, &mut data)?;
    let layers: Vec<Option<Layer<'_, 'a>>> = (0..nodes.len()).map(|i| layer(&nodes, i, &weights, &sizes)).collect();
    if layers.iter().all(Option::is_none) {
        return Ok(None);
    }

    let replaced = |name: &str| layers.iter().flatten().any(|layer| layer.weight.name == name);
    let whole = graph::replace_graph(model, |graph, bytes| {
        let mut out = Graph { bytes, half };
        for field in fields(graph) {
            let field = field?;
            match (field.number, field.value) {
                (1, _) => (),
                (5, Value::Bytes(tensor)) => {
                    let Some(weight) = graph::weight(tensor)?.filter(|weight| !replaced(weight.name)) else { continue };
                    let bytes = data(&weight)?.bytes;
                    match weight.element {
                        Element::F16 => out.floats(weight.name, &weight.shape, &floats(&weight, bytes)?),
                        element => graph::put_tensor(out.bytes, weight.name, element, &weight.shape, bytes),
                    }
                }
                _ => out.bytes.extend_from_slice(field.raw),
            }
        }
        out.inputs(&nodes);
        let mut skip = false;
        for (node, layer) in nodes.iter().zip(&layers) {
            match layer {
                Some(layer) => {
                    let bytes = data(layer.weight)?.bytes;
                    out.layer(layer, &floats(layer.weight, bytes)?);
                    skip = layer.activation.is_some();
                }
                // An activation that went into the layer before.
                None if skip => skip = false,
                None => out.node(node.op, &node.inputs, &node.outputs, &node.attributes),
            }
        }
        Ok(())
    })?;
    Ok(Some(whole))
}

/// The nodes of a graph, if all are known.
fn nodes(graph: &[u8]) -> Result<Option<Vec<Node<'_>>>, String> {
    let mut all = Vec::new();
    for field in fields(graph) {
        let field = field?;
        let (1, Value::Bytes(message)) = (field.number, field.value) else { continue };
        let mut node = Node::default();
        for field in fields(message) {
            let field = field?;
            let Value::Bytes(bytes) = field.value else { return Ok(None) };
            let Ok(text) = std::str::from_utf8(bytes) else {
                if field.number == 5 {
                    node.attributes.push(bytes);
                    continue;
                }
                return Ok(None);
            };
            match field.number {
                1 => node.inputs.push(text),
                2 => node.outputs.push(text),
                4 => node.op = text,
                5 => node.attributes.push(bytes),
                // Its name and comment.
                3 | 6 => (),
                // Its domain: the standard one has an empty name.
                7 if text.is_empty() => (),
                _ => return Ok(None),
            }
        }
        if !KNOWN.contains(&node.op) || node.outputs.len() != 1 || all.len() == MAX_NODES {
            return Ok(None);
        }
        all.push(node);
    }
    Ok(Some(all))
}

/// Height and width of the values that are images: what a Reshape makes, and what comes of it.
fn image_sizes<'a>(
    nodes: &[Node<'a>],
    weights: &HashMap<&'a str, Weight<'a>>,
    data: &mut impl FnMut(&Weight<'a>) -> Result<Data<'a>, String>,
) -> Result<HashMap<&'a str, (usize, usize)>, String> {
    let mut sizes = HashMap::new();
    for node in nodes {
        let of_input = node.inputs.first().and_then(|name| sizes.get(name)).copied();
        let size = match node.op {
            "Reshape" => match node.inputs.get(1).and_then(|name| weights.get(name)) {
                Some(shape) if shape.element == Element::I64 && shape.shape == [4] => {
                    let bytes = data(shape)?.bytes;
                    let side = |i: usize| {
                        let number = bytes.get(8 * i..8 * i + 8)?.try_into().ok()?;
                        usize::try_from(i64::from_le_bytes(number)).ok().filter(|&n| n > 0)
                    };
                    side(2).zip(side(3))
                }
                _ => None,
            },
            "Relu" | "LeakyRelu" | "Tanh" => of_input,
            "ConvTranspose" if doubles(node) => of_input.map(|(h, w): (usize, usize)| (2 * h, 2 * w)),
            _ => None,
        };
        if let (Some(size), Some(&output)) = (size, node.outputs.first()) {
            sizes.insert(output, size);
        }
    }
    Ok(sizes)
}

/// Whether a transposed convolution has kernel 4, stride 2, padding 1, and nothing else that matters.
fn doubles(node: &Node<'_>) -> bool {
    let (mut kernel, mut strides, mut pads) = (false, false, false);
    for attribute in &node.attributes {
        let (mut name, mut number, mut numbers) = (&[][..], None, Vec::new());
        for field in fields(attribute).flatten() {
            match (field.number, field.value) {
                (1, Value::Bytes(text)) => name = text,
                (3, Value::Varint(n)) => number = Some(n),
                (8, value) if wire::numbers(value, &mut numbers).is_err() => return false,
                _ => (),
            }
        }
        match name {
            b"kernel_shape" => kernel = numbers == [4, 4],
            b"strides" => strides = numbers == [2, 2],
            b"pads" => pads = numbers == [1, 1, 1, 1],
            b"group" if number == Some(1) => (),
            b"dilations" if numbers == [1, 1] => (),
            _ => return false,
        }
    }
    kernel && strides && pads
}

/// A transposed convolution that is replaced, and the activation after it, which goes into the convolutions.
struct Layer<'n, 'a> {
    weight: &'n Weight<'a>,
    input: &'a str,
    bias: Option<&'a str>,
    activation: Option<&'n Node<'a>>,
    output: &'a str,
    /// Height and width of the input.
    size: (usize, usize),
}

fn layer<'n, 'a>(
    nodes: &'n [Node<'a>],
    at: usize,
    weights: &'n HashMap<&'a str, Weight<'a>>,
    sizes: &HashMap<&'a str, (usize, usize)>,
) -> Option<Layer<'n, 'a>> {
    let node = &nodes[at];
    if node.op != "ConvTranspose" || !doubles(node) {
        return None;
    }
    let (&input, &output) = (node.inputs.first()?, node.outputs.first()?);
    let size = *sizes.get(input)?;
    let weight = weights.get(node.inputs.get(1)?)?;
    let is_float = matches!(weight.element, Element::F16 | Element::F32);
    let is_blocked =
        matches!(weight.shape[..], [i, o, 4, 4] if i.is_multiple_of(BLOCK) && o.is_multiple_of(BLOCK) && o > 0);
    let uses = |name: &str| nodes.iter().flat_map(|node| &node.inputs).filter(|input| **input == name).count();
    if !is_float || !is_blocked || uses(weight.name) != 1 {
        return None;
    }
    let next = nodes
        .get(at + 1)
        .filter(|next| matches!(next.op, "Relu" | "LeakyRelu") && next.inputs == [output] && uses(output) == 1);
    Some(Layer {
        weight,
        input,
        bias: node.inputs.get(2).copied().filter(|name| !name.is_empty()),
        activation: next,
        output: next.map_or(output, |next| next.outputs[0]),
        size,
    })
}

/// Elements of a weight of type f16 or f32.
fn floats(weight: &Weight<'_>, bytes: &[u8]) -> Result<Vec<f32>, String> {
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
struct Graph<'o> {
    bytes: &'o mut Vec<u8>,
    /// Input and output are f16, all between them is f32.
    half: bool,
}

impl Graph<'_> {
    /// Casts what goes into the first nodes, if it is f16.
    fn inputs(&mut self, nodes: &[Node<'_>]) {
        if self.half {
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
    fn node(&mut self, op: &str, inputs: &[&str], outputs: &[&str], attributes: &[impl AsRef<[u8]>]) {
        let is_end = |name: &str| self.half && [INPUT_LATENT, INPUT_IMAGE, OUTPUT_IMAGE].contains(&name);
        let rename = |name: &&str| if is_end(name) { wide(name) } else { (*name).to_owned() };
        let (inputs, renamed): (Vec<_>, Vec<_>) =
            (inputs.iter().map(rename).collect(), outputs.iter().map(rename).collect());
        self.raw_node(op, &inputs, &renamed, attributes);
        if self.half && outputs == [OUTPUT_IMAGE] {
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

    fn floats(&mut self, name: &str, shape: &[usize], values: &[f32]) {
        let bytes = match cfg!(target_endian = "little") {
            // SAFETY: numbers may be read as bytes, of which there are four each; the file has them in this order.
            true => Cow::from(unsafe { std::slice::from_raw_parts(values.as_ptr().cast::<u8>(), size_of_val(values)) }),
            false => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        graph::put_tensor(self.bytes, name, Element::F32, shape, &bytes);
    }

    fn sizes(&mut self, name: &str, sizes: &[i64]) {
        let bytes: Vec<u8> = sizes.iter().flat_map(|n| n.to_le_bytes()).collect();
        graph::put_tensor(self.bytes, name, Element::I64, &[sizes.len()], &bytes);
    }

    /// The four convolutions that make a layer.
    fn layer(&mut self, layer: &Layer<'_, '_>, kernel: &[f32]) {
        let [inputs, outputs, ..] = layer.weight.shape[..] else { return };
        let ((h, w), name) = (layer.size, layer.weight.name);
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
                self.floats(&at("weight"), &[outputs, inputs, 2, 2], &phases[2 * a + c]);
                let (weight, mut last) = (at("weight"), at("conv"));
                let arguments: Vec<&str> = [layer.input, &weight].into_iter().chain(layer.bias).collect();
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
    use crate::engine::environment;
    use crate::graph::Place;
    use ort::session::Session;
    use ort::value::Tensor;

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).expect("reads")
    }

    fn inside<'a>(weight: &Weight<'a>) -> Result<Data<'a>, String> {
        match weight.place {
            Place::Inside(bytes) => Ok(Data { offset: 0, bytes }),
            Place::Outside(file) => Err(format!("in {file}")),
        }
    }

    /// The images of a model for these latents.
    fn run(model: &[u8], half: bool, z: &[f32]) -> Vec<f32> {
        let environment = environment().expect("an environment");
        let mut session = Session::builder(environment).expect("a builder").commit_from_memory(model).expect("loads");
        let shape = [z.len() / 48, 48];
        if half {
            let z: Vec<f16> = z.iter().map(|&x| f16::from_f32(x)).collect();
            let z = Tensor::from_array((shape, z)).expect("a tensor");
            let outputs = session.run(ort::inputs!["z" => z]).expect("runs");
            let (_, image) = outputs["image"].try_extract_tensor::<f16>().expect("an image");
            return image.iter().map(|x| x.to_f32()).collect();
        }
        let z = Tensor::from_array((shape, z.to_vec())).expect("a tensor");
        let outputs = session.run(ort::inputs!["z" => z]).expect("runs");
        outputs["image"].try_extract_tensor::<f32>().expect("an image").1.to_vec()
    }

    #[test]
    fn the_faster_form_makes_the_same_images() {
        let z: Vec<f32> = (0..5 * 48).map(|i| (i as f32 * 0.7).sin() * 2.).collect();
        for (name, half, tolerance) in
            [("dcgan-f32.onnx", false, 1e-5), ("dcgan-leaky.onnx", false, 1e-5), ("dcgan-f16.onnx", true, 2e-3)]
        {
            let model = fixture(name);
            let faster = faster(&model, inside).expect("reads").expect("has a faster form");
            let (slow, fast) = (run(&model, half, &z), run(&faster, half, &z));
            assert_eq!(slow.len(), 5 * 3 * 20 * 12);
            let far = slow.iter().zip(&fast).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
            assert!(far <= tolerance, "{name}: {far}");
            assert!(slow.iter().any(|x| *x < -0.2) && slow.iter().any(|x| *x > 0.2), "images are not flat");
            // The last layer, of 3 channels, stays.
            let names = |op: &[u8]| faster.windows(op.len()).filter(|window| *window == op).count();
            assert_eq!(names(b"ConvTranspose"), 1, "{name}");
        }
    }

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

    #[test]
    fn models_that_are_not_known_are_left_alone() {
        for name in ["trivial.onnx", "conditional.onnx", "outside-branch.onnx"] {
            assert_eq!(faster(&fixture(name), inside), Ok(None), "{name}");
        }
        // An operator that nobody knows, of a name as long.
        let mut model = fixture("dcgan-f32.onnx");
        let at = model.windows(4).position(|window| window == b"Tanh").expect("has one");
        model[at..at + 4].copy_from_slice(b"Tanx");
        assert_eq!(faster(&model, inside), Ok(None));
    }

    #[test]
    fn damaged_models_are_errors_or_left_alone_or_changed_but_never_a_panic() {
        let model = fixture("dcgan-f16.onnx");
        for at in (0..model.len()).step_by(13) {
            let mut altered = model.clone();
            altered[at] ^= 0x15;
            let _ = faster(&altered, inside);
            let _ = faster(&model[..at], inside);
        }
    }
}
