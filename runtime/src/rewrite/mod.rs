//! The same generator, its transposed convolutions written as ordinary ones, and uneven padding as even.
//!
//! A transposed convolution of stride s is s x s convolutions of a kernel that is s times smaller, one for each remainder of the
//! output's row and column, whose results are interleaved: of kernel 4, stride 2 and padding 1, which every DCGAN is made of,
//! four of kernel 2. How that is best written depends on what computes it, see [`Form`]. What is not of this kind is left as
//! it is.

#[cfg(any(test, feature = "cuda"))]
mod even;
mod window;
mod writer;

use crate::graph::{Graph, Node, Text, Weight};
use crate::model::OUTPUT_IMAGE;
use crate::operators::Checked;
use std::collections::HashMap;
use window::Window;
use writer::Writer;

/// How transposed convolutions are written.
#[cfg_attr(not(feature = "cuda"), allow(dead_code, reason = "all but the first are for GPUs"))]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Four convolutions, their results interleaved by copies of whole pixels and rows: ONNX Runtime's blocked convolutions
    /// (x86-64) come nearer to the processor's peak than its transposed ones. What it is worth, and where it loses, is
    /// measured: `benches/RESULTS.md`. Only of kernel 4, stride 2 and padding 1.
    Apart,
    /// One convolution that makes all of them, on an input padded so far that whatever meets the kernel has a place; pixels are
    /// shuffled, and the border is cut off. For GPUs, where few large operations are the fastest, and where cuDNN computes transposed convolutions as it does gradients: the algorithm that it prefers
    /// for single precision adds up in another order each time.
    Together,
    /// The same, of those alone that cuDNN has no other way for: with another padding above than below, or left than right.
    Uneven,
}

/// Channels in one block of the blocked convolutions: layers with fewer or other numbers of them lose, apart.
const BLOCK: usize = 8;

/// Whether [`Form::Apart`] is known to win on this processor: with AVX2 and with AVX-512.
pub(crate) fn pays_here() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("avx2");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// `graph` with its transposed convolutions in this form, and whether it had some that can be.
pub(crate) fn rewritten<'a>(mut graph: Graph<'a>, checked: &Checked, form: Form) -> (Graph<'a>, bool) {
    let mut uses = HashMap::new();
    for name in graph.nodes.iter().flat_map(|node| &node.inputs) {
        *uses.entry(&**name).or_insert(0) += 1;
    }
    let layers: Vec<Option<Layer<'a>>> =
        (0..graph.nodes.len()).map(|i| layer(&graph, i, &uses, checked, form)).collect();
    if layers.iter().all(Option::is_none) {
        return (graph, false);
    }
    let nodes = std::mem::take(&mut graph.nodes);
    let mut writer = Writer { graph: &mut graph };
    let mut skip = false;
    for (node, layer) in nodes.into_iter().zip(&layers) {
        match layer {
            Some(layer) => {
                match form {
                    Form::Apart => writer.apart(layer),
                    Form::Together | Form::Uneven => writer.together(layer),
                }
                skip = layer.activation.is_some();
            }
            // An activation that went into the layer before.
            None if skip => skip = false,
            None => writer.graph.nodes.push(node),
        }
    }
    let mut replaced = layers.iter().flatten().flat_map(|layer| {
        let bias = layer.bias.as_ref().filter(|_| form != Form::Apart);
        [Some(&layer.weight.name), bias.map(|bias| &bias.name)]
    });
    let replaced: Vec<&Text<'a>> = replaced.by_ref().flatten().collect();
    graph.weights.retain(|weight| !replaced.contains(&&weight.name));
    (graph, true)
}

/// `graph` as ONNX Runtime's CUDA provider can compute all of it, and whether transposed convolutions were replaced: those of
/// uneven windows, or all that can be.
#[cfg(any(test, feature = "cuda"))]
pub(crate) fn for_gpu<'a>(graph: Graph<'a>, checked: &Checked, all: bool) -> (Graph<'a>, bool) {
    let (graph, some) = if all { rewritten(graph, checked, Form::Together) } else { (graph, false) };
    // Together leaves those of stride 1.
    let (graph, more) = rewritten(even::even(graph), checked, Form::Uneven);
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
    window: Window,
    input: Text<'a>,
    /// Height and width of the input.
    size: [usize; 2],
    activation: Option<Node<'a>>,
    output: Text<'a>,
}

fn layer<'a>(
    graph: &Graph<'a>,
    at: usize,
    uses: &HashMap<&str, usize>,
    checked: &Checked,
    form: Form,
) -> Option<Layer<'a>> {
    let node = &graph.nodes[at];
    if node.op != "ConvTranspose" {
        return None;
    }
    let (input, output) = (node.inputs.first()?, node.outputs.first()?);
    let &[_, height, width] = &checked.value(input)?.sizes[..] else { return None };
    let uses = |name: &Text<'_>| uses.get(&**name).copied().unwrap_or(0);
    // Numbers that a layer has for itself: those that others take, too, would have to stay.
    let own = |name: &Text<'_>| graph.weight(name).filter(|weight| uses(&weight.name) == 1);
    let weight = own(node.inputs.get(1)?)?;
    let [inputs, outputs, rows, columns] = weight.shape[..] else { return None };
    let window = Window::of(node, [rows, columns]).filter(|window| match form {
        Form::Apart => window.doubles(),
        Form::Together => window.stride > 1,
        Form::Uneven => window.is_uneven(),
    })?;
    let bias = node.inputs.get(2).filter(|name| !name.is_empty());
    let bias = match (bias, form) {
        (None, _) => None,
        (Some(name), Form::Apart) => Some(graph.weight(name)?),
        (Some(name), Form::Together | Form::Uneven) => Some(own(name)?),
    };
    if form == Form::Apart && ![inputs, outputs].iter().all(|n| n.is_multiple_of(BLOCK)) {
        return None;
    }
    let next = graph.nodes.get(at + 1).filter(|next| {
        matches!(&*next.op, "Relu" | "LeakyRelu")
            && next.inputs == [output.clone()]
            && uses(output) == 1
            && output != OUTPUT_IMAGE
    });
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
        output: next.map_or(output, |next| &next.outputs[0]).clone(),
    })
}

#[cfg(test)]
mod window_tests;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::environment;
    use crate::graph::{Attribute, ElementType, Setting, build, read, widened};
    use crate::model::ModelInfo;
    use crate::operators::check;
    use half::f16;
    use ort::session::Session;
    use ort::value::Tensor;

    fn fixture(name: &str) -> Vec<u8> {
        std::fs::read(format!("{}/tests/fixtures/{name}", env!("CARGO_MANIFEST_DIR"))).expect("reads")
    }

    fn parts(bytes: &[u8]) -> (Graph<'_>, Checked) {
        let model = read(bytes).expect("reads");
        let info = ModelInfo::from_metadata(|key| model.metadata(key)).expect("has metadata");
        let checked = check(&model.graph, &info).expect("is a generator");
        (model.graph, checked)
    }

    pub(super) fn run(graph: &Graph<'_>, half: bool, z: &[f32]) -> Vec<f32> {
        let environment = environment().expect("an environment");
        let options = Session::builder(environment).expect("a builder");
        // SAFETY: the file's bytes outlive the session, which ends here.
        let mut session = unsafe { build::session(graph, &options) }.expect("loads");
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
        let mut inputs = ort::inputs!["z" => z];
        if graph.inputs.iter().any(|port| port.name == "class") {
            let classes: Vec<i64> = (0..n as i64).map(|i| i % 3).collect();
            inputs.push(("class".into(), Tensor::from_array(([n], classes)).expect("a tensor").into()));
        }
        let outputs = session.run(inputs).expect("runs");
        if half {
            let (_, image) = outputs["image"].try_extract_tensor::<f16>().expect("an image");
            return image.iter().map(|x| x.to_f32()).collect();
        }
        outputs["image"].try_extract_tensor::<f32>().expect("an image").1.to_vec()
    }

    #[test]
    fn all_forms_make_the_same_images() {
        let z: Vec<f32> = (0..5 * 48).map(|i| (i as f32 * 0.7).sin() * 2.).collect();
        for (name, half, tolerance) in [
            ("dcgan-f32.onnx", false, 1e-5),
            ("dcgan-leaky.onnx", false, 1e-5),
            ("dcgan-f16.onnx", true, 2e-3),
            // Rows and columns are cut off after each layer, of the second one after its activation. At the end colours are
            // divided by opacity, which enlarges what was rounded.
            ("sprites-f32.onnx", false, 3e-4),
            ("sprites-f16.onnx", true, 5e-2),
        ] {
            let bytes = fixture(name);
            let (graph, checked) = parts(&bytes);
            let plain = run(&graph, half, &z);
            assert_eq!(plain.len(), if name.starts_with("sprites") { 40 * 4 * 49 * 22 } else { 5 * 3 * 20 * 12 });
            assert!(plain.iter().any(|x| *x < -0.2) && plain.iter().any(|x| *x > 0.2), "images are not flat");
            let wide = widened(graph.clone());
            assert_eq!(wide.weights.iter().filter(|weight| weight.element == ElementType::F16).count(), 0);
            assert_eq!(wide.nodes.iter().filter(|node| node.op == "Cast").count(), 2 * usize::from(half));
            // Apart, the last layer, of 3 or 4 channels, stays.
            for (form, graph, left) in [(Form::Apart, wide, 1), (Form::Together, graph, 0)] {
                let (other, rewritten) = rewritten(graph, &checked, form);
                assert!(rewritten, "{name}, {form:?}");
                let far = plain.iter().zip(run(&other, half, &z)).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
                assert!(far <= tolerance, "{name}, {form:?}: {far}");
                assert_eq!(
                    other.nodes.iter().filter(|node| node.op == "ConvTranspose").count(),
                    left,
                    "{name}, {form:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_not_of_the_kind_is_left_alone() {
        let alter = |change: fn(&mut Graph<'_>)| {
            let bytes = fixture("dcgan-f32.onnx");
            let (mut graph, checked) = parts(&bytes);
            change(&mut graph);
            [Form::Apart, Form::Together].map(|form| {
                let left = |graph: &Graph<'_>| graph.nodes.iter().filter(|node| node.op == "ConvTranspose").count();
                left(&rewritten(graph.clone(), &checked, form).0)
            })
        };
        assert_eq!(alter(|_| ()), [1, 0]);
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
            for (form, left) in [(Form::Apart, 2), (Form::Together, 1)] {
                let nodes = rewritten(graph.clone(), &checked, form).0.nodes;
                assert_eq!(nodes.iter().filter(|node| node.op == "ConvTranspose").count(), left, "{name}");
            }
        }
        // Weights that are used twice, and generators without such layers.
        let shared = alter(|graph| {
            let name = graph.nodes.iter().find(|node| node.op == "ConvTranspose").expect("has one").inputs[1].clone();
            graph.nodes.push(Node::new("Abs", vec![name], "more".into()));
        });
        assert_eq!(shared, [2, 1]);
        for name in ["trivial.onnx", "conditional.onnx"] {
            let bytes = fixture(name);
            let (graph, checked) = parts(&bytes);
            assert!(!rewritten(graph, &checked, Form::Apart).1);
        }
    }
}
