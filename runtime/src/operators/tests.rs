//! What is inferred against what ONNX Runtime makes.

mod refusals;

use super::*;
use crate::engine::environment;
use crate::graph::{Data, Port, Setting, Text, build};
use crate::model::{INPUT_LATENT, plain};
use ort::session::builder::SessionBuilder;
use ort::value::Tensor;
use proptest::prelude::*;
use std::collections::HashMap as Map;

/// z [N, the sample's elements] -> reshaped to [N, sample] -> the node -> flattened -> image. The node takes `x` first; what it
/// takes and makes as bytes is turned into them before, and back after.
fn graph<'a>(sample: &[usize], mut node: Node<'a>, weights: Vec<Weight<'a>>) -> Graph<'a> {
    let len: usize = sample.iter().product();
    let port = |name: &'static str, sizes: &[usize]| Port {
        name: name.into(),
        element: ElementType::F32 as u64,
        shape: std::iter::once(None).chain(sizes.iter().map(|&n| Some(n))).collect(),
    };
    let takes_bytes = ["QLinearConv", "DequantizeLinear"].contains(&&*node.op);
    let makes_bytes = ["QLinearConv", "QuantizeLinear"].contains(&&*node.op);
    let open = |sizes: &[usize]| std::iter::once(-1).chain(sizes.iter().map(|&n| n as i64)).collect::<Vec<_>>();
    node.inputs.insert(0, "x".into());
    node.outputs.insert(0, "y".into());
    let mut graph = Graph {
        opset: 17,
        inputs: vec![port(INPUT_LATENT, &[len])],
        outputs: vec![port(OUTPUT_IMAGE, &[1, 1, 1])],
        weights,
        nodes: vec![Node::new("Reshape", vec!["z".into(), "in".into()], "x".into()), node],
    };
    graph.weights.push(Weight::sizes("in", &open(sample)));
    if takes_bytes || makes_bytes {
        let middle = whole("middle", ElementType::U8, &[], |_| 120);
        graph.weights.extend([scalar("step", 0.01), middle]);
    }
    // How much the node makes is not known before it is asked.
    let made = {
        let weights: Map<&str, &Weight<'_>> = graph.weights.iter().map(|w| (&*w.name, w)).collect();
        let mut values = Values::default();
        for weight in &graph.weights {
            let value = Typed { element: weight.element, per_sample: false, sizes: weight.shape.clone() };
            values.define(&weight.name, value).expect("a name");
        }
        let element = if takes_bytes { ElementType::U8 } else { ElementType::F32 };
        let x = Typed { element, per_sample: true, sizes: sample.to_vec() };
        values.define("x", x).expect("a name");
        made_by(&graph.nodes[1], 17, &values, &weights, LEAST_MOST)
    };
    let len = made.map_or(1, |made| made.outputs[0].sizes.iter().product());
    graph.outputs = vec![port(OUTPUT_IMAGE, &[1, 1, len])];
    graph.weights.push(Weight::sizes("out", &open(&[1, 1, len])));
    graph.nodes.push(Node::new("Reshape", vec!["y".into(), "out".into()], OUTPUT_IMAGE.into()));
    let step = |op: &'static str, from: &'static str, to: &'static str| {
        Node::new(op, vec![from.into(), "step".into(), "middle".into()], to.into())
    };
    if makes_bytes {
        graph.nodes[2].inputs[0] = "numbers".into();
        graph.nodes.insert(2, step("DequantizeLinear", "y", "numbers"));
    }
    if takes_bytes {
        graph.nodes[0].outputs[0] = "before".into();
        graph.nodes.insert(1, step("QuantizeLinear", "before", "x"));
    }
    graph
}

fn checked(graph: &Graph<'_>) -> Result<Checked, String> {
    let size = |port: &Port<'_>| port.shape.last().copied().flatten().unwrap_or(1);
    check(graph, &plain(size(&graph.inputs[0]), size(&graph.outputs[0])))
}

/// Runs what is accepted with one, two and three samples: the shape is the inferred one, and each sample's part is the same.
fn agrees(sample: &[usize], node: Node<'_>, weights: Vec<Weight<'_>>) -> Result<(), String> {
    let graph = graph(sample, node, weights);
    let found = checked(&graph)?;
    let made = found.value("y").expect("is made").clone();
    let (len, out): (usize, usize) = (sample.iter().product(), made.sizes.iter().product());
    let mut whole = Vec::new();
    for threads in [1, 2, 3] {
        let options = SessionBuilder::new(environment().expect("a library")).expect("a builder");
        let options = options.with_intra_threads(threads).expect("threads");
        // SAFETY: all weights are the graph's own, and copied.
        let session = unsafe { build::session(&graph, &options) }.map_err(|e| format!("ONNX Runtime: {e}"))?;
        for n in [7, 1, 2, 3] {
            let z: Vec<f32> = (0..n * len).map(|i| (i as f32 * 0.7).sin()).collect();
            let z = Tensor::from_array(([n, len], z)).expect("a tensor").into_dyn();
            let image = session.run(&[(c"z", z)], c"image").expect("runs");
            let (shape, image) = image.try_extract_tensor::<f32>().expect("an image");
            assert_eq!(shape[..], [n as i64, 1, 1, out as i64]);
            whole = if whole.is_empty() { image.to_vec() } else { whole };
            let far = image.iter().zip(&whole).map(|(a, b)| (a - b).abs()).fold(0f32, f32::max);
            assert!(far <= 1e-4, "samples are mixed: {far}");
            let same = image.iter().zip(&whole).all(|(a, b)| a.to_bits() == b.to_bits());
            let may_differ = match found.alike {
                Alike::Always => crate::rows::threads(&graph, &found, threads, true) != threads,
                Alike::OneThread => threads > 1,
                Alike::Alone => true,
            };
            assert!(same || may_differ, "{n} samples of {sample:?}, {threads} threads: {:?}", graph.nodes[1]);
        }
    }
    Ok(())
}

fn node(op: &str, inputs: &[&str], settings: &[(&'static str, Setting<'static>)]) -> Node<'static> {
    let inputs: Vec<Text<'static>> = inputs.iter().map(|name| Text::Owned((*name).to_owned())).collect();
    let node = Node { op: op.to_owned().into(), inputs, ..Node::default() };
    settings.iter().fold(node, |node, (name, value)| node.with(name, value.clone()))
}

fn numbers(name: &'static str, shape: &[usize]) -> Weight<'static> {
    let len: usize = shape.iter().product();
    Weight::floats(
        name,
        ElementType::F32,
        shape,
        &(0..len).map(|i| (i as f32 * 1.3).cos() * 0.1 + 0.5).collect::<Vec<_>>(),
    )
}

fn scalar(name: &'static str, x: f32) -> Weight<'static> {
    Weight { shape: vec![], ..Weight::floats(name, ElementType::F32, &[1], &[x]) }
}

/// Integers of any type.
fn whole(name: &'static str, element: ElementType, shape: &[usize], number: impl Fn(usize) -> i64) -> Weight<'static> {
    let len: usize = shape.iter().product();
    let bytes: Vec<u8> = (0..len).flat_map(|i| number(i).to_le_bytes()[..element.size()].to_vec()).collect();
    Weight { name: name.into(), element, shape: shape.to_vec(), data: Data::Bytes(bytes.into()) }
}

/// What a convolution of bytes takes beside them, of this kernel.
fn of_bytes(kernel: &[usize]) -> Vec<Weight<'static>> {
    let outputs = &kernel[..1];
    let zero = |name| whole(name, ElementType::U8, &[], |_| 120);
    vec![
        scalar("x.scale", 0.01),
        zero("x.zero"),
        whole("w", ElementType::I8, kernel, |i| (i * 37 % 128) as i64 - 64),
        numbers("w.scale", outputs),
        whole("w.zero", ElementType::I8, outputs, |_| 0),
        scalar("y.scale", 0.5),
        zero("y.zero"),
        whole("b", ElementType::I32, outputs, |i| i as i64 * 100 - 150),
    ]
}

const OF_BYTES: [&str; 8] = ["x.scale", "x.zero", "w", "w.scale", "w.zero", "y.scale", "y.zero", "b"];

fn sizes(name: &'static str, sizes: &[i64]) -> Weight<'static> {
    Weight::sizes(name, sizes)
}

fn ints(numbers: &[i64]) -> Setting<'static> {
    Setting::Ints(numbers.to_vec())
}

use Setting::{Float, Int};

/// Every operator once at least, as plain generators have it.
#[test]
fn what_is_inferred_is_what_onnx_runtime_makes() {
    let word = |word: &'static str| Setting::Text(word.into());
    let image = &[4, 6, 5][..];
    let mut cases: Vec<(&[usize], Node<'_>, Vec<Weight<'_>>)> = vec![
        (image, node("Cast", &[], &[("to", Int(1))]), vec![]),
        (image, node("Clip", &["a", "b"], &[]), vec![scalar("a", -0.5), scalar("b", 0.5)]),
        (image, node("Clip", &["", "b"], &[]), vec![scalar("b", 0.5)]),
        (image, node("PRelu", &["a"], &[]), vec![numbers("a", &[4, 1, 1])]),
        (image, node("Add", &["a"], &[]), vec![numbers("a", &[6, 1])]),
        (image, node("Mul", &["a"], &[]), vec![numbers("a", &[1, 4, 1, 5])]),
        (image, node("Sub", &["x"], &[]), vec![]),
        (image, node("Div", &["a"], &[]), vec![numbers("a", &[])]),
        (image, node("Pow", &["a"], &[]), vec![scalar("a", 2.)]),
        (image, node("Add", &["a"], &[]), vec![scalar("a", 0.5)]),
        (image, node("Mul", &["a"], &[]), vec![scalar("a", 0.5)]),
        (image, node("Sub", &["a"], &[]), vec![scalar("a", 1.)]),
        (image, node("Div", &["a"], &[]), vec![numbers("a", &[4, 1, 1])]),
        (image, node("Max", &["a"], &[]), vec![scalar("a", 0.1)]),
        (image, node("Min", &["a"], &[]), vec![scalar("a", 0.1)]),
        (&[1, 5], node("Max", &["a"], &[]), vec![numbers("a", &[3, 1])]),
        (image, node("Sum", &["a", "x"], &[]), vec![numbers("a", &[5])]),
        (image, node("Mean", &["x"], &[]), vec![]),
        (image, node("Min", &["a"], &[]), vec![numbers("a", &[1])]),
        (image, node("Concat", &["x"], &[("axis", Int(1))]), vec![]),
        (image, node("Concat", &["x", "x"], &[("axis", Int(-1))]), vec![]),
        (image, node("DepthToSpace", &[], &[("blocksize", Int(2)), ("mode", word("CRD"))]), vec![]),
        (&[3, 4, 6], node("SpaceToDepth", &[], &[("blocksize", Int(2))]), vec![]),
        (&[1, 5], node("Expand", &["a"], &[]), vec![sizes("a", &[1, 3, 5])]),
        (&[2, 1], node("Tile", &["a"], &[]), vec![sizes("a", &[1, 2, 3])]),
        (image, node("Flatten", &[], &[]), vec![]),
        (image, node("Gather", &["a"], &[("axis", Int(2))]), vec![sizes("a", &[5, 0, -1])]),
        (image, node("Pad", &["a", "v"], &[]), vec![sizes("a", &[0, 1, 2, 0, 0, 0, 1, 3]), scalar("v", 0.25)]),
        (image, node("Pad", &["a"], &[("mode", word("reflect"))]), vec![sizes("a", &[0, 0, 5, 4, 0, 3, 1, 0])]),
        (image, node("Pad", &["a"], &[("mode", word("edge"))]), vec![sizes("a", &[0, 0, 7, 1, 0, 0, 1, 0])]),
        (image, node("Reshape", &["a"], &[]), vec![sizes("a", &[-1, 8, 15])]),
        (image, node("Reshape", &["a"], &[]), vec![sizes("a", &[0, -1, 5])]),
        (image, node("Reshape", &["a"], &[]), vec![sizes("a", &[0, 4, 0, 5])]),
        (
            image,
            node("Slice", &["a", "b", "c"], &[]),
            vec![sizes("a", &[1, -3]), sizes("b", &[99, -1]), sizes("c", &[2, 3])],
        ),
        (
            image,
            node("Slice", &["a", "b", "c"], &[]),
            vec![sizes("a", &[0, 0]), sizes("b", &[5, 5]), sizes("c", &[2, 3])],
        ),
        (image, node("Slice", &["a", "b", "c"], &[]), vec![sizes("a", &[3]), sizes("b", &[4]), sizes("c", &[1])]),
        (
            image,
            node("Slice", &["a", "b", "c", "d"], &[]),
            vec![sizes("a", &[-1, 1]), sizes("b", &[-99, 5]), sizes("c", &[1, -1]), sizes("d", &[-2, 3])],
        ),
        (image, node("Transpose", &[], &[("perm", ints(&[0, 3, 1, 2]))]), vec![]),
        (&[1, 5], node("Squeeze", &["a"], &[]), vec![sizes("a", &[-2])]),
        (&[5], node("Unsqueeze", &["a"], &[]), vec![sizes("a", &[1, -1])]),
        (
            &[7],
            node("Gemm", &["a", "b"], &[("transB", Int(1)), ("alpha", Float(0.5))]),
            vec![numbers("a", &[3, 7]), numbers("b", &[3])],
        ),
        (&[7], node("Gemm", &["a", "b"], &[]), vec![numbers("a", &[7, 3]), numbers("b", &[1, 3])]),
        (&[7], node("MatMul", &["a"], &[]), vec![numbers("a", &[7, 3])]),
        (&[2, 7], node("MatMul", &["a"], &[]), vec![numbers("a", &[7, 3])]),
        (&[2, 4, 7], node("MatMul", &["a"], &[]), vec![numbers("a", &[2, 7, 3])]),
        (&[3, 3], node("MatMul", &["x"], &[]), vec![]),
        // One row for each sample, and more than a matrix on the right.
        (&[1, 33], node("MatMul", &["a"], &[]), vec![numbers("a", &[1, 33, 70])]),
        (&[7, 33], node("MatMul", &["a"], &[]), vec![numbers("a", &[1, 33, 1])]),
        (&[2, 1200], node("MatMul", &["a"], &[]), vec![numbers("a", &[1200, 17])]),
        (image, node("Softmax", &[], &[("axis", Int(1))]), vec![]),
        (image, node("LogSoftmax", &[], &[]), vec![]),
        (image, node("LpNormalization", &[], &[("axis", Int(1)), ("p", Int(2))]), vec![]),
        (image, node("InstanceNormalization", &["a", "b"], &[]), vec![numbers("a", &[4]), numbers("b", &[4])]),
        (
            image,
            node("LayerNormalization", &["a", "b"], &[("axis", Int(2))]),
            vec![numbers("a", &[6, 5]), numbers("b", &[6, 5])],
        ),
        (
            image,
            node("BatchNormalization", &["a", "b", "c", "d"], &[("epsilon", Float(1e-3))]),
            ["a", "b", "c", "d"].map(|name| numbers(name, &[4])).into(),
        ),
        (image, node("ReduceSum", &["a"], &[("keepdims", Int(0))]), vec![sizes("a", &[2, -1])]),
        (image, node("GlobalAveragePool", &[], &[]), vec![]),
        (image, node("GlobalMaxPool", &[], &[]), vec![]),
        (image, node("MaxPool", &[], &[("kernel_shape", ints(&[2, 3])), ("pads", ints(&[1, 0, 0, 2]))]), vec![]),
        (
            image,
            node("Resize", &["", "a"], &[("mode", word("linear"))]),
            vec![Weight::floats("a", ElementType::F32, &[4], &[1., 1., 2., 1.5])],
        ),
        (image, node("Dropout", &[], &[]), vec![]),
        (image, node("Dropout", &["r"], &[]), vec![scalar("r", 0.5)]),
        (image, node("Reshape", &["a"], &[("allowzero", Int(1))]), vec![sizes("a", &[-1, 120])]),
        (
            image,
            node("Resize", &["none", "a", ""], &[("mode", word("cubic"))]),
            vec![
                Weight::floats("none", ElementType::F32, &[0], &[]),
                Weight::floats("a", ElementType::F32, &[4], &[1., 1., 2., 0.5]),
            ],
        ),
        (
            image,
            Node { outputs: vec!["rest".into()], ..node("Split", &["a"], &[("axis", Int(1))]) },
            vec![sizes("a", &[1, 3])],
        ),
        (image, Node { outputs: vec!["rest".into()], ..node("Split", &[], &[("axis", Int(-2))]) }, vec![]),
        (image, node("Identity", &[], &[]), vec![]),
        (image, node("QuantizeLinear", &["step", "middle"], &[]), vec![]),
        (&[3, 1000], node("QuantizeLinear", &["step", "middle"], &[("axis", Int(1))]), vec![]),
        (image, node("DequantizeLinear", &["step", "middle"], &[]), vec![]),
        (image, node("QLinearConv", &OF_BYTES, &[]), of_bytes(&[6, 4, 3, 2])),
        // One scale for all outputs, no bias.
        (image, node("QLinearConv", &OF_BYTES[..7], &[]), {
            let mut all = of_bytes(&[6, 4, 3, 2]);
            (all[3], all[4]) = (scalar("w.scale", 0.02), whole("w.zero", ElementType::I8, &[], |_| 0));
            all
        }),
    ];
    for op in ["ReduceL1", "ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSumSquare"] {
        cases.push((image, node(op, &[], &[("axes", ints(&[1]))]), vec![]));
    }
    let of_one = ["PRelu", "Clip", "Cast", "Add", "Div", "Max", "Mean", "Min", "Mul", "Pow", "Sub", "Sum", "Gelu"];
    for op in elementwise::ALL.iter().filter(|operator| !of_one.contains(&operator.name)) {
        // Lengths around the number of elements that are computed at a time, and large ones.
        for sample in [&[1][..], &[15], &[17], &[3, 5, 7], &[3, 1000], &[2, 33, 41], &[16, 16]] {
            cases.push((sample, node(op.name, &[], &[]), vec![]));
        }
    }
    let mut seen: Vec<String> = cases.iter().map(|(_, node, _)| node.op.to_string()).collect();
    for (sample, node, weights) in cases {
        let what = format!("{node:?}");
        agrees(sample, node, weights).unwrap_or_else(|e| panic!("{what}: {e}"));
    }
    // Gelu came with version 20; the windows are tried at random below.
    seen.extend(["Gelu", "Reshape", "AveragePool", "Conv", "ConvTranspose"].map(String::from));
    for operator in FAMILIES.into_iter().flatten() {
        assert!(seen.iter().any(|name| name == operator.name), "{} is not tried", operator.name);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn windows_of_all_kinds_are_those_of_onnx_runtime(
        op in 0usize..4, kernel in prop::array::uniform2(1usize..5), strides in prop::array::uniform2(1i64..4),
        dilations in prop::array::uniform2(1i64..3), pads in prop::array::uniform4(0i64..4),
        extra in prop::array::uniform2(0i64..3), groups in 1usize..3, sides in prop::array::uniform2(1usize..9),
        same in 0usize..4,
    ) {
        let mode = ["NOTSET", "NOTSET", "SAME_UPPER", "SAME_LOWER"][same];
        let mut settings = vec![("strides", ints(&strides)), ("dilations", ints(&dilations))];
        let kernel_shape = ints(&kernel.map(|n| n as i64));
        let pads = if mode == "NOTSET" || op == 1 { pads } else { [0; 4] };
        if pads != [0; 4] { settings.push(("pads", ints(&pads))) }
        let sample = [4, sides[0], sides[1]];
        let node = match op {
            0 => {
                settings.extend([("group", Int(groups as i64)), ("auto_pad", Setting::Text(mode.into()))]);
                (node("Conv", &["w", "b"], &settings), vec![numbers("w", &[6, 4 / groups, kernel[0], kernel[1]]), numbers("b", &[6])])
            }
            3 => {
                settings.extend([("group", Int(groups as i64)), ("auto_pad", Setting::Text(mode.into()))]);
                (node("QLinearConv", &OF_BYTES, &settings), of_bytes(&[6, 4 / groups, kernel[0], kernel[1]]))
            }
            1 => {
                settings.extend([("group", Int(groups as i64)), ("output_padding", ints(&extra))]);
                (node("ConvTranspose", &["w"], &settings), vec![numbers("w", &[4, 3, kernel[0], kernel[1]])])
            }
            _ => {
                settings.retain(|(name, _)| *name != "dilations");
                settings.extend([("kernel_shape", kernel_shape), ("count_include_pad", Int(1))]);
                (node("AveragePool", &[], &settings), vec![])
            }
        };
        let what = format!("{:?}", node.0);
        // Refused is fine, as long as it is refused here: what is accepted must load and make what was inferred.
        if let Err(why) = agrees(&sample, node.0, node.1) {
            prop_assert!(!why.starts_with("ONNX Runtime"), "{}: {}", what, why);
        }
    }
}
