//! Windows of every kind, written otherwise, against the same as they are.

use super::even::even;
use super::tests::run;
use super::{Which, for_gpu, together};
use crate::graph::{ElementType, Graph, Node, Port, Setting, Weight};
use crate::model::{ImageShape, ModelInfo, Precision};
use crate::operators::{Checked, check};
use crate::self_test::SelfTest;

/// [inputs, height, width] of the layer.
const INPUT: [usize; 3] = [3, 4, 5];
const OUTPUTS: usize = 2;

/// A generator of one layer with these settings, on latents that are its input, and what is known of it. `image` is the shape
/// of what the layer makes.
fn generator(
    op: &'static str,
    [height, width]: [usize; 2],
    settings: &[(&'static str, &[i64])],
    image: [usize; 2],
) -> (Graph<'static>, Checked) {
    let numbers = |n: usize, at: usize| (0..n).map(|i| ((i + at) as f32 * 0.7).sin() / 3.).collect::<Vec<f32>>();
    let floats = |name: &'static str, shape: &[usize], at| {
        Weight::floats(name, ElementType::F32, shape, &numbers(shape.iter().product(), at))
    };
    let port = |name: &'static str, sizes: &[usize]| {
        let shape = std::iter::once(None).chain(sizes.iter().map(|&n| Some(n))).collect();
        Port { name: name.into(), element: ElementType::F32 as u64, shape }
    };
    let latent = INPUT.iter().product();
    let kernel = match op {
        "Conv" => [OUTPUTS, INPUT[0], height, width],
        _ => [INPUT[0], OUTPUTS, height, width],
    };
    let layer = Node::new(op, ["x", "w", "b"].map(Into::into).into(), "y".into());
    let layer = settings.iter().fold(layer, |node, (name, all)| node.with(name, Setting::Ints(all.to_vec())));
    let graph = Graph {
        opset: 17,
        inputs: vec![port("z", &[latent])],
        outputs: vec![port("image", &[OUTPUTS, image[0], image[1]])],
        weights: vec![
            Weight::sizes("shape", &[-1, INPUT[0] as i64, INPUT[1] as i64, INPUT[2] as i64]),
            floats("w", &kernel, 3),
            floats("b", &[OUTPUTS], 5),
        ],
        nodes: vec![
            Node::new("Reshape", vec!["z".into(), "shape".into()], "x".into()),
            layer,
            Node::new("LeakyRelu", vec!["y".into()], "a".into()),
            Node::new("Tanh", vec!["a".into()], "image".into()),
        ],
    };
    let shape = ImageShape { channels: OUTPUTS, height: image[0], width: image[1] };
    let self_test = SelfTest { seed: 0, index: 0, tolerance: 2., points: Vec::new() };
    let info = ModelInfo::new(Precision::F32, latent, shape, self_test);
    let checked = check(&graph, &info).unwrap_or_else(|e| panic!("{op} of {height} x {width}, {settings:?}: {e}"));
    (graph, checked)
}

/// How far two images of two graphs are from those of the other at most.
fn far(a: &Graph<'_>, b: &Graph<'_>) -> f32 {
    let z: Vec<f32> = (0..2 * INPUT.iter().product::<usize>()).map(|i| (i as f32 * 1.3).sin() * 2.).collect();
    let (a, b) = (run(a, false, &z), run(b, false, &z));
    assert_eq!(a.len(), b.len());
    assert!(a.iter().any(|x| *x < -1e-3) && a.iter().any(|x| *x > 0.2), "images are flat");
    a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0., f32::max)
}

#[test]
fn transposed_convolutions_of_all_windows_are_ordinary_ones() {
    type Case = ([usize; 2], i64, [i64; 4], [i64; 2]);
    let cases: [Case; 11] = [
        ([4, 4], 2, [1, 1, 1, 1], [0, 0]),
        // Keras, `padding="same"`.
        ([5, 5], 2, [1, 1, 2, 2], [0, 0]),
        ([3, 3], 2, [0, 0, 1, 1], [0, 0]),
        ([3, 3], 2, [1, 1, 1, 1], [1, 1]),
        ([3, 5], 2, [0, 2, 1, 0], [0, 1]),
        ([2, 2], 2, [0, 0, 0, 0], [0, 0]),
        ([6, 4], 2, [2, 1, 2, 1], [0, 0]),
        ([3, 3], 3, [0, 0, 0, 0], [0, 0]),
        ([7, 4], 3, [2, 0, 1, 1], [0, 2]),
        ([4, 3], 1, [2, 0, 1, 1], [0, 0]),
        ([8, 8], 4, [3, 1, 2, 2], [1, 0]),
    ];
    for case @ (kernel, stride, pads, more) in cases {
        let size = |axis: usize| {
            let whole = stride as usize * (INPUT[axis + 1] - 1) + kernel[axis] + more[axis] as usize;
            whole - (pads[axis] + pads[axis + 2]) as usize
        };
        let settings: [(&str, &[i64]); 3] = [("strides", &[stride; 2]), ("pads", &pads), ("output_padding", &more)];
        let (graph, checked) = generator("ConvTranspose", kernel, &settings, [size(0), size(1)]);
        let is_uneven = pads[..2] != pads[2..];
        for (which, replaces) in [(Which::Strided, stride > 1), (Which::Uneven, is_uneven)] {
            let (other, is_other) = together(graph.clone(), &checked, which);
            assert_eq!(is_other, replaces, "{case:?}, {which:?}");
            let left = other.nodes.iter().any(|node| node.op == "ConvTranspose");
            assert_eq!(left, !replaces, "{case:?}, {which:?}");
            let far = far(&graph, &other);
            assert!(far < 1e-6, "{case:?}, {which:?}: {far}");
        }
    }
}

#[test]
fn windows_that_no_convolution_makes_are_left_alone() {
    for (kernel, settings, image) in [
        // Kernels with holes between them, and rows that no input meets.
        ([2, 2], [("strides", [3, 3]), ("output_padding", [0, 0])], [11, 14]),
        ([2, 2], [("strides", [2, 2]), ("output_padding", [1, 1])], [9, 11]),
        ([3, 3], [("strides", [2, 1]), ("output_padding", [0, 0])], [9, 7]),
        ([3, 3], [("strides", [2, 2]), ("dilations", [2, 2])], [11, 13]),
    ] {
        let settings = settings.each_ref().map(|(name, numbers)| (*name, &numbers[..]));
        let (graph, checked) = generator("ConvTranspose", kernel, &settings, image);
        assert!(!together(graph, &checked, Which::Strided).1, "{settings:?}");
    }
}

#[test]
fn convolutions_are_padded_alike_at_both_ends() {
    type Case = ([usize; 2], i64, [i64; 4]);
    let cases: [Case; 5] = [
        ([3, 3], 2, [0, 0, 1, 1]),
        ([4, 4], 1, [2, 2, 1, 1]),
        ([4, 4], 1, [1, 1, 2, 2]),
        ([2, 3], 2, [1, 0, 0, 2]),
        ([1, 3], 1, [0, 3, 0, 0]),
    ];
    for case @ (kernel, stride, pads) in cases {
        let size = |axis: usize| {
            (INPUT[axis + 1] + (pads[axis] + pads[axis + 2]) as usize - kernel[axis]) / stride as usize + 1
        };
        let sizes = kernel.map(|n| n as i64);
        let settings: [(&str, &[i64]); 3] = [("strides", &[stride; 2]), ("pads", &pads), ("kernel_shape", &sizes)];
        let (graph, _) = generator("Conv", kernel, &settings, [size(0), size(1)]);
        let other = even(graph.clone());
        let conv = other.nodes.iter().find(|node| node.op == "Conv").expect("has one");
        let found = conv.ints("pads").expect("has pads");
        assert_eq!(found[..2], found[2..], "{case:?}");
        assert_eq!(other.weights.len(), graph.weights.len(), "{case:?}: what it was made of is gone");
        let far = far(&graph, &other);
        assert!(far < 1e-6, "{case:?}: {far}");
    }
    // What is even already, and what would become many times as long.
    for (pads, image) in [([1, 1, 1, 1], [4, 5]), ([0, 0, 4, 0], [6, 3]), ([0, 0, 90, 0], [92, 3])] {
        let (graph, _) = generator("Conv", [3, 3], &[("pads", &pads)], image);
        let other = even(graph.clone());
        let kept = other.nodes.iter().any(|node| node.op == "Conv" && node.ints("pads") == Some(&pads[..]));
        assert!(kept, "{pads:?}");
        assert_eq!(other.weights.len(), graph.weights.len());
    }
    // A weight that several have is not made longer for each of them.
    let (mut graph, _) = generator("Conv", [3, 3], &[("pads", &[0, 0, 1, 1])], [3, 4]);
    let mut again = graph.nodes.iter().find(|node| node.op == "Conv").expect("has one").clone();
    again.outputs = vec!["again".into()];
    graph.nodes.push(again);
    let other = even(graph.clone());
    let weights: Vec<_> = other.nodes.iter().filter(|node| node.op == "Conv").map(|node| &node.inputs[1]).collect();
    assert!(weights.len() == 2 && weights[0] == weights[1], "{weights:?}");
    assert_eq!(other.weights.len(), graph.weights.len());
}

/// Whatever is asked for, no window is left that a GPU has not.
#[test]
fn nothing_uneven_is_left_for_a_gpu() {
    let windows =
        [("Conv", [3, 3], 2, [2, 2]), ("ConvTranspose", [5, 5], 2, [8, 10]), ("ConvTranspose", [4, 4], 1, [4, 5])];
    for (op, kernel, stride, image) in windows {
        let pads: [i64; 4] = if op == "Conv" { [0, 0, 1, 1] } else { [1, 1, 2, 2] };
        let (graph, checked) = generator(op, kernel, &[("strides", &[stride; 2]), ("pads", &pads)], image);
        for all in [false, true] {
            let (other, is_rewritten) = for_gpu(graph.clone(), &checked, all);
            assert_eq!(is_rewritten, op == "ConvTranspose");
            let uneven = |node: &Node<'_>| node.ints("pads").is_some_and(|pads| pads[..2] != pads[2..]);
            assert!(!other.nodes.iter().any(uneven), "{op} {kernel:?}, {all}");
            assert!(far(&graph, &other) < 1e-6, "{op} {kernel:?}, {all}");
        }
    }
}
