//! The same generator, its transposed convolutions written otherwise: as what this crate computes itself, on the CPU
//! ([`ours`]), and as ordinary ones, on GPUs ([`for_gpu`]).
//!
//! A transposed convolution of stride s is s x s convolutions of a kernel that is s times smaller, one for each remainder of the
//! output's row and column, whose results are interleaved: of kernel 4, stride 2 and padding 1, which every DCGAN is made of,
//! four of kernel 2. What is not of this kind is left as it is.

#[cfg(any(test, feature = "cuda"))]
mod even;
mod fold;
mod ours;
mod window;
#[cfg(any(test, feature = "cuda"))]
mod writer;

use crate::graph::{Graph, Node, Text, Weight};
use crate::model::OUTPUT_IMAGE;
use crate::operators::Checked;
pub(crate) use ours::ours;
use std::collections::HashMap;
use window::Window;
#[cfg(any(test, feature = "cuda"))]
use writer::Writer;

/// Which transposed convolutions are written as one convolution that makes all of them, on an input padded so far that
/// whatever meets the kernel has a place; pixels are shuffled, and the border is cut off. For GPUs, where few large operations
/// are the fastest, and where cuDNN computes transposed convolutions as it does gradients: the algorithm that it prefers for
/// single precision adds up in another order each time.
#[cfg(any(test, feature = "cuda"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// All with a stride.
    Strided,
    /// Those alone that cuDNN has no other way for: with another padding above than below, or left than right.
    Uneven,
}

/// `graph` with these of its transposed convolutions written as ordinary ones, and whether it had some.
#[cfg(any(test, feature = "cuda"))]
pub(crate) fn together<'a>(graph: Graph<'a>, checked: &Checked, which: Which) -> (Graph<'a>, bool) {
    let wanted = |window: &Window| match which {
        Which::Strided => window.stride > 1,
        Which::Uneven => window.is_uneven(),
    };
    let layers = layers(&graph, checked, wanted);
    let biases =
        layers.iter().flatten().filter_map(|layer| layer.bias.as_ref().map(|bias| bias.name.clone())).collect();
    replaced(graph, layers, biases, |graph, layer| Writer { graph }.together(layer))
}

/// `graph` with what `write` writes into it for each of the `layers`, which are for its nodes, and whether there were some.
/// Their weights and `unused` ones are let go.
fn replaced<'a>(
    mut graph: Graph<'a>,
    layers: Vec<Option<Layer<'a>>>,
    mut unused: Vec<Text<'a>>,
    mut write: impl FnMut(&mut Graph<'a>, &Layer<'a>),
) -> (Graph<'a>, bool) {
    if layers.iter().all(Option::is_none) {
        return (graph, false);
    }
    let nodes = std::mem::take(&mut graph.nodes);
    let mut skip = false;
    for (node, layer) in nodes.into_iter().zip(&layers) {
        match layer {
            Some(layer) => {
                write(&mut graph, layer);
                skip = layer.activation.is_some();
            }
            // An activation that went into the layer before.
            None if skip => skip = false,
            None => graph.nodes.push(node),
        }
    }
    unused.extend(layers.into_iter().flatten().map(|layer| layer.weight.name));
    graph.weights.retain(|weight| !unused.contains(&weight.name));
    (graph, true)
}

/// `graph` as ONNX Runtime's CUDA provider can compute all of it, and whether transposed convolutions were replaced: those of
/// uneven windows, or all that can be.
#[cfg(any(test, feature = "cuda"))]
pub(crate) fn for_gpu<'a>(graph: Graph<'a>, checked: &Checked, all: bool) -> (Graph<'a>, bool) {
    let (graph, some) = if all { together(graph, checked, Which::Strided) } else { (graph, false) };
    let (graph, more) = together(even::even(graph), checked, Which::Uneven);
    (graph, some || more)
}

/// A transposed convolution that is replaced, and the activation after it, which goes into the convolutions.
struct Layer<'a> {
    /// [inputs, outputs, height, width]
    weight: Weight<'a>,
    inputs: usize,
    outputs: usize,
    /// The weight's elements.
    kernel: Vec<f32>,
    bias: Option<Weight<'a>>,
    #[cfg_attr(not(any(test, feature = "cuda")), allow(dead_code, reason = "here there is one kind"))]
    window: Window,
    input: Text<'a>,
    /// Height and width of the input.
    size: [usize; 2],
    activation: Option<Node<'a>>,
    output: Text<'a>,
    /// How many inputs of nodes the output is.
    used: usize,
}

/// How many inputs of nodes each value is.
fn count_uses<'a>(graph: &Graph<'a>) -> HashMap<Text<'a>, usize> {
    let mut uses = HashMap::new();
    for name in graph.nodes.iter().flat_map(|node| &node.inputs) {
        *uses.entry(name.clone()).or_insert(0) += 1;
    }
    uses
}

/// For each node, the layer that it is, where that has a window that is `wanted`.
fn layers<'a>(graph: &Graph<'a>, checked: &Checked, wanted: impl Fn(&Window) -> bool) -> Vec<Option<Layer<'a>>> {
    let uses = count_uses(graph);
    (0..graph.nodes.len()).map(|at| layer(graph, at, &uses, checked, &wanted)).collect()
}

fn layer<'a>(
    graph: &Graph<'a>,
    at: usize,
    uses: &HashMap<Text<'a>, usize>,
    checked: &Checked,
    wanted: impl Fn(&Window) -> bool,
) -> Option<Layer<'a>> {
    let node = &graph.nodes[at];
    if node.op != "ConvTranspose" {
        return None;
    }
    let (input, output) = (node.inputs.first()?, node.outputs.first()?);
    let &[_, height, width] = &checked.value(input)?.sizes[..] else { return None };
    let uses = |name: &Text<'a>| uses.get(name).copied().unwrap_or(0);
    // Numbers that a layer has for itself: those that others take, too, would have to stay.
    let own = |name: &Text<'a>| graph.weight(name).filter(|weight| uses(&weight.name) == 1);
    let weight = own(node.inputs.get(1)?)?;
    let [inputs, outputs, rows, columns] = weight.shape[..] else { return None };
    let window = Window::of(node, [rows, columns]).filter(wanted)?;
    let bias = match node.inputs.get(2).filter(|name| !name.is_empty()) {
        Some(name) => Some(own(name)?),
        None => None,
    };
    let next = graph.nodes.get(at + 1).filter(|next| {
        matches!(&*next.op, "Relu" | "LeakyRelu")
            && next.inputs == [output.clone()]
            && uses(output) == 1
            && output != OUTPUT_IMAGE
    });
    let output = next.map_or(output, |next| &next.outputs[0]);
    Some(Layer {
        weight: weight.clone(),
        inputs,
        outputs,
        kernel: weight.as_floats()?,
        bias: bias.cloned(),
        window,
        input: input.clone(),
        size: [height, width],
        activation: next.cloned(),
        output: output.clone(),
        used: uses(output),
    })
}

#[cfg(test)]
mod ours_tests;
#[cfg(test)]
mod window_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::environment;
    use crate::graph::{Attribute, ElementType, Setting, build, read, widened};
    use crate::kernels::{Kernel, Operators};
    use crate::model::ModelInfo;
    use crate::operators::check;
    use half::f16;
    use ort::session::builder::SessionBuilder;
    use ort::value::Tensor;
    use std::sync::Arc;

    pub(super) fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).expect("reads")
    }

    pub(super) fn parts(bytes: &[u8]) -> (Graph<'_>, Checked) {
        let model = read(bytes).expect("reads");
        let info = ModelInfo::from_metadata(|key| model.metadata(key)).expect("has metadata");
        let checked = check(&model.graph, &info).expect("is a generator");
        (model.graph, checked)
    }

    pub(super) fn run(graph: &Graph<'_>, half: bool, z: &[f32]) -> Vec<f32> {
        run_with(graph, &[], half, z)
    }

    /// The images of a graph with these operators of our own.
    pub(super) fn run_with(graph: &Graph<'_>, kernels: &[Arc<dyn Kernel>], half: bool, z: &[f32]) -> Vec<f32> {
        let options = SessionBuilder::new(environment().expect("an environment")).expect("a builder");
        let _operators = Operators::register(kernels, 1, &options).expect("are taken");
        // SAFETY: the file's bytes outlive the session, which ends here.
        let session = unsafe { build::session(graph, &options) }.expect("loads");
        let latent =
            graph.inputs.iter().find(|port| port.name == "z").and_then(|port| port.shape[1]).expect("a latent");
        let n = z.len() / latent;
        let z = &z[..n * latent];
        let z = match half {
            true => {
                let z: Vec<f16> = z.iter().map(|&x| f16::from_f32(x)).collect();
                Tensor::from_array(([n, latent], z)).expect("a tensor").into_dyn()
            }
            false => Tensor::from_array(([n, latent], z.to_vec())).expect("a tensor").into_dyn(),
        };
        let mut inputs = vec![(c"z", z)];
        if graph.inputs.iter().any(|port| port.name == "class") {
            let classes: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
            inputs.push((c"class", Tensor::from_array(([n], classes)).expect("a tensor").into_dyn()));
        }
        let image = session.run(&inputs, c"image").expect("runs");
        if half {
            let (_, image) = image.try_extract_tensor::<f16>().expect("an image");
            return image.iter().map(|x| x.to_f32()).collect();
        }
        image.try_extract_tensor::<f32>().expect("an image").1.to_vec()
    }

    pub(super) fn left(graph: &Graph<'_>) -> usize {
        graph.nodes.iter().filter(|node| node.op == "ConvTranspose").count()
    }

    #[test]
    fn all_forms_make_the_same_images() {
        let z: Vec<f32> = (0..5 * 48).map(|i| (i as f32 * 0.7).sin() * 2.).collect();
        for (name, half, tolerance) in [
            ("dcgan-f32.onnx", false, 1e-5),
            ("dcgan-leaky.onnx", false, 1e-5),
            ("dcgan-f16.onnx", true, 2e-3),
            // With layers of more than a few outputs.
            ("../../../models/digits/gen.onnx", true, 2e-3),
            // Rows and columns are cut off after each layer, of the second one after its activation. At the end colours are
            // divided by opacity, which enlarges what was rounded.
            ("sprites-f32.onnx", false, 3e-4),
            ("sprites-f16.onnx", true, 5e-2),
        ] {
            let bytes = fixture(name);
            let (graph, checked) = parts(&bytes);
            let plain = run(&graph, half, &z);
            assert_eq!(
                plain.len(),
                match name.split('-').next() {
                    Some("sprites") => 40 * 4 * 49 * 22,
                    Some("dcgan") => 5 * 3 * 20 * 12,
                    _ => 3 * 28 * 28,
                }
            );
            assert!(plain.iter().any(|x| *x < -0.2) && plain.iter().any(|x| *x > 0.2), "images are not flat");
            let wide = widened(graph.clone());
            assert_eq!(wide.weights.iter().filter(|weight| weight.element == ElementType::F16).count(), 0);
            assert_eq!(wide.nodes.iter().filter(|node| node.op == "Cast").count(), 2 * usize::from(half));
            let weights = |graph: &Graph<'_>| graph.weights.len();
            let (ours, kernels) = ours(wide.clone(), &checked).expect("has memory");
            let (together, rewritten) = together(graph, &checked, Which::Strided);
            assert!(rewritten, "{name}");
            for (other, kernels) in [(&ours, &kernels[..]), (&together, &[])] {
                let images = run_with(other, kernels, half, &z);
                let far = plain.iter().zip(images).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
                assert!(far <= tolerance, "{name}, {}: {far}", kernels.len());
                // Two layers of the sprites are alone, and of few outputs.
                let alone = if name.starts_with("sprites") && !kernels.is_empty() { 2 } else { 0 };
                assert_eq!(left(other), alone, "{name}");
                assert!(kernels.is_empty() || weights(other) < weights(&wide), "what is ours is not kept twice");
            }
            // And the product of matrices before them.
            assert_eq!(kernels.len(), left(&wide) - left(&ours) + 1);
        }
    }

    #[test]
    fn what_is_not_of_the_kind_is_left_alone() {
        let alter = |change: fn(&mut Graph<'_>)| {
            let bytes = fixture("dcgan-f32.onnx");
            let (mut graph, checked) = parts(&bytes);
            change(&mut graph);
            [
                left(&ours(graph.clone(), &checked).expect("has memory").0),
                left(&together(graph, &checked, Which::Strided).0),
            ]
        };
        assert_eq!(alter(|_| ()), [0, 0]);
        let set = |name: &str, graph: &mut Graph<'_>, value: Setting<'static>| {
            let node = graph.nodes.iter_mut().find(|node| node.op == "ConvTranspose").expect("has one");
            node.attributes.retain(|attribute| attribute.name != name);
            node.attributes.push(Attribute { name: name.to_owned().into(), value });
        };
        for (name, numbers) in
            [("strides", [1, 1]), ("strides", [5, 5]), ("dilations", [2, 2]), ("kernel_shape", [3, 3])]
        {
            let bytes = fixture("dcgan-f32.onnx");
            let (mut graph, checked) = parts(&bytes);
            set(name, &mut graph, Setting::Ints(numbers.to_vec()));
            // The other one is alone then.
            assert_eq!(left(&ours(graph.clone(), &checked).expect("has memory").0), 2, "{name}");
            assert_eq!(left(&together(graph, &checked, Which::Strided).0), 1, "{name}");
        }
        // Weights that are used twice, and generators without such layers.
        let shared = alter(|graph| {
            let name = graph.nodes.iter().find(|node| node.op == "ConvTranspose").expect("has one").inputs[1].clone();
            graph.nodes.push(Node::new("Abs", vec![name], "more".into()));
        });
        assert_eq!(shared, [2, 1]);
        // A weight that is a number, and of which the sum with others is none.
        let huge = alter(|graph| {
            let name = graph.nodes.iter().find(|node| node.op == "ConvTranspose").expect("has one").inputs[1].clone();
            let weight = graph.weights.iter_mut().find(|weight| weight.name == name).expect("has it");
            let (mut all, shape) = (weight.as_floats().expect("floats"), weight.shape.clone());
            all[5] = f32::MAX / 2.;
            *weight = Weight::floats(name, ElementType::F32, &shape, &all);
        });
        assert_eq!(huge, [2, 0]);
        for name in ["trivial.onnx", "conditional.onnx"] {
            let bytes = fixture(name);
            let (graph, checked) = parts(&bytes);
            assert!(ours(graph, &checked).expect("has memory").1.is_empty());
        }
    }
}
