//! The same generator, written so that ONNX Runtime computes it faster on some processors.
//!
//! A transposed convolution of kernel 4, stride 2 and padding 1, the one that every DCGAN is made of, is four convolutions of
//! kernel 2, one for each parity of the output's row and column; they read the same input, and their results are interleaved
//! by copies of whole pixels and rows. ONNX Runtime's blocked convolutions (x86-64) come nearer to the processor's peak than
//! its transposed ones. Half-precision weights are widened at once, so that nothing is converted between the layers.
//!
//! What it is worth, and where it loses, is measured: `benches/RESULTS.md`. A model with anything in it that is not known here
//! is left as it is.

mod writer;

use crate::graph::{self, Data, Element, Weight};
use crate::model::MAX_SIDE;
use crate::wire::{self, Field, Value, fields};
use std::collections::HashMap;
use writer::{Graph, floats};

/// Operators of which neither shape nor precision of their surroundings is part.
const KNOWN: [&str; 10] =
    ["Add", "Concat", "ConvTranspose", "Gather", "Gemm", "LeakyRelu", "Mul", "Relu", "Reshape", "Tanh"];
/// Channels in one block of the blocked convolutions: layers with fewer or other numbers of them lose.
const BLOCK: usize = 8;
/// Most bytes of weights, widened: all of them go into one message, of which protobuf allows 2 GB.
const MAX_BYTES: usize = 1 << 30;
/// Most nodes of a model that is looked at: every layer is compared with all of them.
const MAX_NODES: usize = 1024;

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
    let widened = |weight: &Weight<'_>| weight.bytes().and_then(|n| n.checked_mul(4 / weight.element.size().min(4)));
    let total = weights.values().try_fold(0usize, |sum, weight| sum.checked_add(widened(weight)?));
    if total.is_none_or(|total| total > MAX_BYTES) {
        return Ok(None);
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
                        usize::try_from(i64::from_le_bytes(number)).ok()
                    };
                    side(2).zip(side(3))
                }
                _ => None,
            },
            "Relu" | "LeakyRelu" | "Tanh" => of_input,
            "ConvTranspose" if doubles(node) => of_input.map(|(h, w): (usize, usize)| (2 * h, 2 * w)),
            _ => None,
        };
        // No image is larger, and no product of sizes too large.
        let size = size.filter(|(h, w)| (1..=MAX_SIDE).contains(h) && (1..=MAX_SIDE).contains(w));
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
        matches!(weight.shape[..], [i, o, 4, 4] if [i, o].into_iter().all(|n| n > 0 && n.is_multiple_of(BLOCK)));
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::environment;
    use crate::graph::Place;
    use half::f16;
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
    fn sizes_that_no_image_has_are_left_alone() {
        let model = fixture("dcgan-f32.onnx");
        let bytes = |sizes: [i64; 4]| sizes.map(i64::to_le_bytes).concat();
        let right = bytes([-1, 16, 5, 3]);
        let at = model.windows(right.len()).position(|window| window == right).expect("has a shape");
        for (h, w) in [(i64::MAX, 3), (5, i64::MAX), (1 << 62, 1 << 62), (5, 0), (-5, 3), (4097, 3)] {
            let mut altered = model.clone();
            altered[at..at + right.len()].copy_from_slice(&bytes([-1, 16, h, w]));
            assert_eq!(faster(&altered, inside), Ok(None), "{h} x {w}");
        }
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
