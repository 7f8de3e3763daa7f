//! The same generator, its transposed convolutions written as ordinary ones.
//!
//! A transposed convolution of kernel 4, stride 2 and padding 1, the one that every DCGAN is made of, is four convolutions of
//! kernel 2, one for each parity of the output's row and column, whose results are interleaved. How that is best written
//! depends on what computes it, see [`Form`]. A model with anything in it that is not known here is left as it is.

mod writer;

use crate::graph::{self, Data, Element, Weight};
use crate::model::{MAX_SIDE, OUTPUT_IMAGE};
use crate::wire::{self, Field, Value, fields};
use std::collections::HashMap;
use writer::{Graph, floats};

/// How transposed convolutions are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Four convolutions, their results interleaved by copies of whole pixels and rows: ONNX Runtime's blocked convolutions
    /// (x86-64) come nearer to the processor's peak than its transposed ones. Half-precision weights are widened at once, so
    /// that nothing is converted between the layers. What it is worth, and where it loses, is measured:
    /// `benches/RESULTS.md`.
    Apart,
    /// One convolution that makes all four, on an input padded by one on every side, so that an odd row and the even row
    /// below it are of the same place; pixels are shuffled, and the border is cut off. For GPUs, where few large operations
    /// are the fastest, and where cuDNN computes transposed convolutions as it does gradients: the algorithm that it prefers
    /// for single precision adds up in another order each time.
    #[cfg_attr(not(any(test, feature = "cuda")), expect(dead_code, reason = "for GPUs"))]
    Together,
}

/// Operators of which neither shape nor precision of their surroundings is part.
const KNOWN: [&str; 10] =
    ["Add", "Concat", "ConvTranspose", "Gather", "Gemm", "LeakyRelu", "Mul", "Relu", "Reshape", "Tanh"];
/// Channels in one block of the blocked convolutions: layers with fewer or other numbers of them lose, apart.
const BLOCK: usize = 8;
/// Most bytes of weights, as they are written: all of them go into one message, of which protobuf allows 2 GB.
const MAX_BYTES: usize = 1 << 30;
/// Most nodes of a model that is looked at: every layer is compared with all of them.
const MAX_NODES: usize = 1024;

/// Whether [`Form::Apart`] is known to win on this processor. With AVX-512 it has not been measured.
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

/// `model` with its transposed convolutions in this form and its weights inside; `None` if it has none that are known.
///
/// # Errors
/// Bytes that are no model, and what `data` refuses.
pub(crate) fn rewritten<'a>(
    model: &'a [u8],
    form: Form,
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
    let widen = form == Form::Apart && weights.values().any(|weight| weight.element == Element::F16);
    let factor = |weight: &Weight<'_>| if widen { 4 / weight.element.size().min(4) } else { 1 };
    let total = weights.values().try_fold(0usize, |sum, weight| {
        weight.bytes().and_then(|bytes| bytes.checked_mul(factor(weight))).and_then(|bytes| sum.checked_add(bytes))
    });
    if total.is_none_or(|total| total > MAX_BYTES) {
        return Ok(None);
    }
    let sizes = match form {
        Form::Apart => image_sizes(&nodes, &weights, &mut data)?,
        Form::Together => HashMap::new(),
    };
    let layers: Vec<Option<Layer<'_, 'a>>> =
        (0..nodes.len()).map(|i| layer(&nodes, i, form, &weights, &sizes)).collect();
    if layers.iter().all(Option::is_none) {
        return Ok(None);
    }

    let replaced = |name: &str| layers.iter().flatten().any(|layer| layer.replaces(name));
    let whole = graph::replace_graph(model, |graph, bytes| {
        let mut out = Graph { bytes, widen };
        for field in fields(graph) {
            let field = field?;
            match (field.number, field.value) {
                (1, _) => (),
                (5, Value::Bytes(tensor)) => {
                    let Some(weight) = graph::weight(tensor)?.filter(|weight| !replaced(weight.name)) else { continue };
                    let bytes = data(&weight)?.bytes;
                    match weight.element {
                        Element::F16 if widen => {
                            out.floats(weight.name, Element::F32, &weight.shape, &floats(&weight, bytes)?);
                        }
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
                    let kernel = floats(layer.weight, data(layer.weight)?.bytes)?;
                    match &layer.kind {
                        Kind::Apart { bias, size } => out.apart(layer, &kernel, *bias, *size),
                        Kind::Together { bias } => {
                            let bias = bias.map(|bias| floats(bias, data(bias)?.bytes)).transpose()?;
                            out.together(layer, &kernel, bias.as_deref());
                        }
                    }
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
    activation: Option<&'n Node<'a>>,
    output: &'a str,
    kind: Kind<'n, 'a>,
}

/// What a layer has in one form only.
enum Kind<'n, 'a> {
    Apart {
        bias: Option<&'a str>,
        /// Height and width of the input.
        size: (usize, usize),
    },
    Together {
        bias: Option<&'n Weight<'a>>,
    },
}

impl Layer<'_, '_> {
    /// Whether this initialiser goes into others.
    fn replaces(&self, name: &str) -> bool {
        let is_bias = matches!(self.kind, Kind::Together { bias: Some(bias) } if bias.name == name);
        is_bias || self.weight.name == name
    }
}

fn layer<'n, 'a>(
    nodes: &'n [Node<'a>],
    at: usize,
    form: Form,
    weights: &'n HashMap<&'a str, Weight<'a>>,
    sizes: &HashMap<&'a str, (usize, usize)>,
) -> Option<Layer<'n, 'a>> {
    let node = &nodes[at];
    if node.op != "ConvTranspose" || !doubles(node) {
        return None;
    }
    let (&input, &output) = (node.inputs.first()?, node.outputs.first()?);
    let weight = weights.get(node.inputs.get(1)?)?;
    let [inputs, outputs, 4, 4] = weight.shape[..] else { return None };
    let uses = |name: &str| nodes.iter().flat_map(|node| &node.inputs).filter(|input| **input == name).count();
    if !matches!(weight.element, Element::F16 | Element::F32) || inputs * outputs == 0 || uses(weight.name) != 1 {
        return None;
    }
    let bias = node.inputs.get(2).copied().filter(|name| !name.is_empty());
    let kind = match form {
        Form::Apart if [inputs, outputs].iter().all(|n| n.is_multiple_of(BLOCK)) => {
            Kind::Apart { bias, size: *sizes.get(input)? }
        }
        Form::Apart => return None,
        Form::Together => Kind::Together {
            bias: match bias {
                Some(name) => {
                    let fits = |bias: &&Weight<'_>| {
                        bias.element == weight.element && bias.shape == [outputs] && uses(bias.name) == 1
                    };
                    Some(weights.get(name).filter(fits)?)
                }
                None => None,
            },
        },
    };
    let next = nodes.get(at + 1).filter(|next| {
        matches!(next.op, "Relu" | "LeakyRelu")
            && next.inputs == [output]
            && uses(output) == 1
            && output != OUTPUT_IMAGE
    });
    Some(Layer { weight, input, activation: next, output: next.map_or(output, |next| next.outputs[0]), kind })
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
    fn both_forms_make_the_same_images() {
        let z: Vec<f32> = (0..5 * 48).map(|i| (i as f32 * 0.7).sin() * 2.).collect();
        for (name, half, tolerance) in
            [("dcgan-f32.onnx", false, 1e-5), ("dcgan-leaky.onnx", false, 1e-5), ("dcgan-f16.onnx", true, 2e-3)]
        {
            let model = fixture(name);
            let plain = run(&model, half, &z);
            assert_eq!(plain.len(), 5 * 3 * 20 * 12);
            assert!(plain.iter().any(|x| *x < -0.2) && plain.iter().any(|x| *x > 0.2), "images are not flat");
            // Apart, the last layer, of 3 channels, stays.
            for (form, left) in [(Form::Apart, 1), (Form::Together, 0)] {
                let other = rewritten(&model, form, inside).expect("reads").expect("has this form");
                let far = plain.iter().zip(run(&other, half, &z)).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
                assert!(far <= tolerance, "{name}, {form:?}: {far}");
                let names = |op: &[u8]| other.windows(op.len()).filter(|window| *window == op).count();
                assert_eq!(names(b"ConvTranspose"), left, "{name}, {form:?}");
                let wide = half && form == Form::Apart;
                assert_eq!(names(b"Cast") > 0, wide, "{name}, {form:?}: halves stay halves on a GPU");
            }
        }
    }

    #[test]
    fn models_that_are_not_known_are_left_alone() {
        for name in ["trivial.onnx", "conditional.onnx", "outside-branch.onnx"] {
            for form in [Form::Apart, Form::Together] {
                assert_eq!(rewritten(&fixture(name), form, inside), Ok(None), "{name}");
            }
        }
        // An operator that nobody knows, of a name as long.
        let mut model = fixture("dcgan-f32.onnx");
        let at = model.windows(4).position(|window| window == b"Tanh").expect("has one");
        model[at..at + 4].copy_from_slice(b"Tanx");
        for form in [Form::Apart, Form::Together] {
            assert_eq!(rewritten(&model, form, inside), Ok(None));
        }
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
            assert_eq!(rewritten(&altered, Form::Apart, inside), Ok(None), "{h} x {w}");
        }
    }

    #[test]
    fn damaged_models_are_errors_or_left_alone_or_changed_but_never_a_panic() {
        let model = fixture("dcgan-f16.onnx");
        for at in (0..model.len()).step_by(13) {
            let mut altered = model.clone();
            altered[at] ^= 0x15;
            for form in [Form::Apart, Form::Together] {
                let _ = rewritten(&altered, form, inside);
                let _ = rewritten(&model[..at], form, inside);
            }
        }
    }
}
