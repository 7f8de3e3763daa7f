//! What is refused: what mixes samples, is too large, or is not known.

use super::*;

#[test]
fn what_mixes_samples_or_is_too_large_or_unknown_is_refused() {
    let scalar = Weight { shape: vec![], ..Weight::floats("v", ElementType::F32, &[1], &[1.]) };
    let image = &[4, 6, 5][..];
    let refused: Vec<(&[usize], Node<'_>, Vec<Weight<'_>>, &str)> = vec![
        (image, node("ReduceMean", &[], &[("axes", ints(&[0]))]), vec![], "mix samples"),
        (image, node("ReduceMean", &[], &[("axes", ints(&[-4]))]), vec![], "mix samples"),
        (image, node("ReduceMean", &[], &[]), vec![], "mix samples"),
        (image, node("Softmax", &[], &[("axis", Int(0))]), vec![], "mix samples"),
        (image, node("Concat", &["x"], &[("axis", Int(0))]), vec![], "mix samples"),
        (image, node("Transpose", &[], &[]), vec![], "mixes samples"),
        (image, node("Transpose", &[], &[("perm", ints(&[1, 0, 2, 3]))]), vec![], "mixes samples"),
        (image, node("Reshape", &["a"], &[]), vec![sizes("a", &[4, -1, 6, 5])], "mixes samples"),
        (image, node("Reshape", &["a"], &[]), vec![sizes("a", &[-1, 60])], "mixes samples"),
        (image, node("Reshape", &["a"], &[]), vec![sizes("a", &[-1, -1])], "mixes samples"),
        (image, node("Reshape", &["a"], &[]), vec![sizes("a", &[120])], "mixes samples"),
        (image, node("Slice", &["a", "b", "a"], &[]), vec![sizes("a", &[0]), sizes("b", &[1])], "mix samples"),
        (image, node("Gather", &["a"], &[]), vec![sizes("a", &[0])], "mix samples"),
        (image, node("Gather", &["a"], &[("axis", Int(1))]), vec![sizes("a", &[4])], "row 4 of 4"),
        (image, node("Pad", &["a"], &[]), vec![sizes("a", &[1, 0, 0, 0, 0, 0, 0, 0])], "pads"),
        (image, node("Pad", &["a"], &[]), vec![sizes("a", &[0, 0, 0, -1, 0, 0, 0, 0])], "pads"),
        (image, node("Pad", &["a"], &[]), vec![sizes("a", &[0, 0, 0, i64::MAX, 0, 0, 0, i64::MAX])], "pads"),
        (image, node("Tile", &["a"], &[]), vec![sizes("a", &[2, 1, 1, 1])], "repeats"),
        (image, node("Tile", &["a"], &[]), vec![sizes("a", &[1, 1 << 20, 1 << 20, 1])], "makes"),
        (image, node("Expand", &["a"], &[]), vec![sizes("a", &[2, 4, 6, 5])], "shape"),
        (&[1], node("Expand", &["a"], &[]), vec![sizes("a", &[1, 1 << 30])], "allowed are"),
        (&[7], node("Gemm", &["a"], &[("transA", Int(1))]), vec![numbers("a", &[7, 3])], "mix"),
        (&[7], node("Gemm", &["a", "b"], &[]), vec![numbers("a", &[7, 3]), numbers("b", &[2, 3])], "adds"),
        (&[7], node("MatMul", &["x"], &[]), vec![], "do not fit"),
        (&[7], node("Add", &["a"], &[]), vec![numbers("a", &[2, 7])], "do not fit"),
        (&[7], node("Add", &["a"], &[]), vec![numbers("a", &[1, 1, 7])], "do not fit"),
        (image, node("Clip", &["v", "v"], &[("min", Float(0.))]), vec![scalar.clone()], "not known of it"),
        (image, node("RandomNormalLike", &[], &[]), vec![], "which no generator may have"),
        (image, node("Loop", &[], &[]), vec![], "which no generator may have"),
        (
            image,
            node("GatherND", &["a"], &[("batch_dims", Int(-1))]),
            vec![sizes("a", &[0])],
            "which no generator may have",
        ),
        (image, node("Tanh", &["nothing"], &[]), vec![], "nothing before it makes"),
        (
            &[4, 6],
            node("Resize", &["", "a"], &[("mode", Setting::Text("linear".into()))]),
            vec![Weight::floats("a", ElementType::F32, &[3], &[1., 1., 2.])],
            "linear along 1 axes",
        ),
        (image, node("Reshape", &["a"], &[]), vec![Weight::sizes("a", &[1; 300_000])], "at most 64 integers"),
        (image, node("Resize", &["", "", "a"], &[]), vec![sizes("a", &[1, 4, 12, 10])], "not sizes"),
        (
            image,
            node("Resize", &["", "a"], &[]),
            vec![Weight::floats("a", ElementType::F32, &[4], &[2., 1., 1., 1.])],
            "scales",
        ),
        (
            image,
            node("Resize", &["", "a"], &[]),
            vec![Weight::floats("a", ElementType::F32, &[4], &[1., 1., f32::NAN, 1.])],
            "scales",
        ),
        // ONNX Runtime refuses it, and nothing older has it.
        (
            image,
            node("Resize", &["", "a"], &[("exclude_outside", Int(1))]),
            vec![Weight::floats("a", ElementType::F32, &[4], &[1.; 4])],
            "exclude_outside",
        ),
        (
            image,
            node("Resize", &["", "a"], &[("antialias", Int(0))]),
            vec![Weight::floats("a", ElementType::F32, &[4], &[1.; 4])],
            "has Resize with antialias, which came with version 18, and operators of version 17",
        ),
        (image, node("Add", &["a"], &[]), vec![Weight::floats("a", ElementType::F32, &[0], &[])], "empty weight"),
        // A side that is negative.
        (
            &[1, 1, 1],
            node("ConvTranspose", &["w"], &[("pads", ints(&[9, 9, 9, 9]))]),
            vec![numbers("w", &[1, 1, 4, 4])],
            "no positions",
        ),
        (
            image,
            node("QuantizeLinear", &["a", "middle"], &[]),
            vec![numbers("a", &[4])],
            "input 1, which must be f32 []",
        ),
        (image, node("QuantizeLinear", &["step"], &[]), vec![], "2 inputs"),
        (image, node("DequantizeLinear", &["step", "step"], &[]), vec![], "input 2, which must be u8 []"),
        (image, node("QLinearConv", &OF_BYTES[..6], &[]), of_bytes(&[6, 4, 3, 2]), "7 inputs"),
        (image, node("QLinearConv", &OF_BYTES, &[]), of_bytes(&[6, 3, 3, 2]), "takes the kernel"),
        (image, node("QLinearConv", &["w"; 8], &[]), of_bytes(&[6, 4, 3, 2]), "input 1, which must be f32 []"),
        (image, node("Conv", &["w"], &[("strides", ints(&[0, 1]))]), vec![numbers("w", &[1, 4, 3, 3])], "strides"),
        (image, node("Conv", &["w"], &[("pads", ints(&[i64::MAX; 4]))]), vec![numbers("w", &[1, 4, 3, 3])], "pads"),
        (image, node("Conv", &["w"], &[("group", Int(-1))]), vec![numbers("w", &[1, 4, 3, 3])], "groups"),
        (
            image,
            node("Conv", &["w"], &[("kernel_shape", ints(&[2, 2]))]),
            vec![numbers("w", &[1, 4, 3, 3])],
            "kernel_shape",
        ),
        (image, node("DepthToSpace", &[], &[("blocksize", Int(0))]), vec![], "blocksize"),
        (image, node("Split", &["a"], &[("axis", Int(1))]), vec![sizes("a", &[3, 1])], "splits"),
    ];
    for (sample, node, weights, words) in refused {
        let what = format!("{node:?}");
        let error = checked(&graph(sample, node, weights)).map(drop).expect_err(&what);
        assert!(error.contains(words), "{what}: {error}");
    }
}

#[test]
fn names_and_computed_constants_are_bounded() {
    let sample = [1usize];
    let base = || graph(&sample, node("Tanh", &[], &[]), vec![numbers("a", &[4])]);
    let refused = |change: &dyn Fn(&mut Graph<'static>), words: &str| {
        let mut graph = base();
        change(&mut graph);
        let error = checked(&graph).map(drop).expect_err(words);
        assert!(error.contains(words), "{error}");
    };
    checked(&base()).expect("is right");
    refused(&|graph| graph.nodes[1].outputs[0] = "z".into(), "two values");
    refused(&|graph| graph.nodes[1].outputs[0] = "kiln:y".into(), "none may have");
    refused(&|graph| graph.weights[0].name = "".into(), "none may have");
    refused(&|graph| graph.weights.push(sizes("e", &[])), "empty weight");
    refused(&|graph| graph.nodes.swap(0, 1), "nothing before it makes");
    // A constant that is computed may be as large as what it comes from, or of a million elements.
    let expanded = |to: i64| {
        let mut graph = base();
        graph.weights.push(sizes("to", &[to, 4]));
        graph.nodes.insert(0, Node::new("Expand", vec!["a".into(), "to".into()], "b".into()));
        checked(&graph)
    };
    // Of all together there is a bound, too: they are computed and kept before the first image.
    let chained = |count: usize| {
        let mut graph = base();
        graph.weights.push(sizes("to", &[1 << 18, 4]));
        let name = |i: usize| -> Text<'static> { format!("k{i}").into() };
        let chain = (1..count).map(|i| Node::new("Neg", vec![name(i - 1)], name(i)));
        let first = Node::new("Expand", vec!["a".into(), "to".into()], name(0));
        graph.nodes.splice(0..0, [first].into_iter().chain(chain));
        checked(&graph)
    };
    chained(16).expect("sixteen millions");
    assert!(chained(17).expect_err("more").contains("computes constants"));
    refused(
        &|graph| {
            let many = (0..1 << 15).map(|i| Node::new("Neg", vec!["x".into()], format!("n{i}").into()));
            graph.nodes.extend(many);
        },
        "allowed are 65536",
    );
    expanded(1 << 18).expect("a million elements");
    assert!(expanded((1 << 18) + 1).expect_err("more").contains("allowed are 1 to 1048576"));
}

#[test]
fn work_and_memory_are_counted() {
    // A kernel of 4 x 4 over 4 x 4 positions of 6 channels, 8 outputs.
    let layer = || node("ConvTranspose", &["w"], &[("strides", ints(&[2, 2])), ("pads", ints(&[1; 4]))]);
    let graph = graph(&[6, 4, 4], layer(), vec![numbers("w", &[6, 8, 4, 4])]);
    let found = checked(&graph).expect("is right");
    assert_eq!(found.value("y").map(|value| &value.sizes[..]), Some(&[8, 8, 8][..]));
    // Input and output at the same time, and the columns beside them.
    assert_eq!(found.live, 4 * (6 * 16 + 8 * 64 + 8 * 16 * 16));
    assert_eq!(found.repeated, 0);
    // So many convolutions of 64 x 64 are right, and two more are not.
    let wide = |count: usize| {
        let mut graph = self::graph(&[4, 32, 32], node("Tanh", &[], &[]), vec![numbers("w", &[4, 4, 64, 64])]);
        for i in 0..count {
            let name = |i: usize| -> Text<'static> { if i == 0 { "x".into() } else { format!("c{i}").into() } };
            let pads = [("strides", ints(&[1, 1])), ("pads", ints(&[32, 32, 31, 31]))];
            let mut layer = node("Conv", &["w"], &pads);
            layer.inputs.insert(0, name(i));
            layer.outputs.push(name(i + 1));
            graph.nodes.insert(i + 1, layer);
        }
        checked(&graph)
    };
    let each = 4 * 32 * 32 * (4 * 64 * 64) as u64;
    let most = (MAX_PRODUCTS / each) as usize;
    let few = wide(most - 1).expect("few enough");
    // One weight for all of them.
    assert_eq!(few.repeated, (most as u64 - 2) * 4 * (4 * 4 * 64 * 64));
    assert!(wide(most + 1).expect_err("too many").contains("multiplications"));
    // Values of 16 MiB each that are all needed at the end.
    let kept = |count: usize| {
        let mut graph = self::graph(&[1], node("Expand", &["to"], &[]), vec![sizes("to", &[1, 1 << 22])]);
        graph.nodes[1].outputs[0] = "c0".into();
        let name = |letter: &str, i: usize| -> Text<'static> { format!("{letter}{i}").into() };
        let values = (1..count).map(|i| Node::new("Tanh", vec![name("c", i - 1)], name("c", i)));
        let first = Node::new("Tanh", vec!["c0".into()], "s0".into());
        let sums = (1..count).map(|i| Node::new("Add", vec![name("s", i - 1), name("c", i)], name("s", i)));
        let mut last = node("ReduceMean", &[], &[("axes", ints(&[1]))]);
        (last.inputs, last.outputs) = (vec![name("s", count - 1)], vec!["y".into()]);
        graph.nodes.splice(2..2, values.chain([first]).chain(sums).chain([last]));
        graph.outputs[0].shape = vec![None, Some(1), Some(1), Some(1)];
        graph.weights.retain(|weight| weight.name != "out");
        graph.weights.push(sizes("out", &[-1, 1, 1, 1]));
        checked(&graph).map(|checked| checked.live)
    };
    let live = kept(200).expect("3 GB");
    assert!((200 << 24..203 << 24).contains(&live), "{live}");
    assert!(kept(257).expect_err("more than 4 GB").contains("bytes of memory"));
}

/// Names come from anybody: they are shown, in plain characters, and cut.
#[test]
fn errors_are_short_and_plain() {
    let image = &[4, 6, 5][..];
    let hidden = "T\u{1b}[2J\u{202e}";
    for name in ["T".repeat(3 << 20), hidden.into()] {
        let as_attribute = |graph: &mut Graph<'_>| {
            graph.nodes[1].attributes.push(crate::graph::Attribute { name: name.clone().into(), value: Int(1) });
        };
        let changes: [&dyn Fn(&mut Graph<'_>); 4] = [
            &|graph| graph.nodes[1].op = name.clone().into(),
            &|graph| graph.nodes[1].inputs[0] = name.clone().into(),
            &|graph| graph.inputs[0].name = name.clone().into(),
            &as_attribute,
        ];
        for change in changes {
            let mut graph = graph(image, node("Tanh", &[], &[]), vec![]);
            change(&mut graph);
            let error = checked(&graph).map(drop).expect_err("must be refused");
            assert!(error.contains("T") && (error.contains("TTTT") || error.contains("\\u{202e}")), "{error:.300}");
            assert!(error.len() < 1000 && !error.contains(|c: char| c.is_control() || c == '\u{202e}'), "{error:.300}");
        }
    }
}
