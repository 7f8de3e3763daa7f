//! What is computed by this crate, against ONNX Runtime's own operators.

use super::ours;
use super::tests::{fixture, left, parts, run, run_with};
use crate::graph::{Attribute, ElementType, Graph, Node, Setting, Weight, read, widened};
use crate::model::ModelInfo;
use crate::operators::check;

/// What is between two layers stays, and sees planes; what is not, is never made.
#[test]
fn numbers_lie_channels_last_only_between_layers_of_ours() {
    // A layer of many outputs, and one of few.
    let bytes = fixture("../../../models/digits/gen.onnx");
    let model = read(&bytes).expect("reads");
    let info = ModelInfo::from_metadata(|key| model.metadata(key)).expect("has metadata");
    let (graph, known) = parts(&bytes);
    let z: Vec<f32> = (0..3 * 64).map(|i| (i as f32 * 0.3).sin() * 2.).collect();
    let first = graph.nodes.iter().position(|node| node.op == "ConvTranspose").expect("has one");
    let activation = &graph.nodes[first + 1];
    assert_eq!((&*activation.op, left(&graph)), ("Relu", 2));
    // An activation that is none of ours, that is not right after the layer, and a value that is used twice.
    let changes: [fn(&mut Graph<'_>, usize); 5] = [
        |_, _| (),
        |graph, first| {
            let layer = graph.nodes[first].outputs[0].clone();
            graph.nodes[first + 1].inputs[0] = "between".into();
            graph.nodes.insert(first + 1, Node::new("Identity", vec![layer], "between".into()));
        },
        |graph, first| {
            let active = graph.nodes[first + 1].outputs[0].clone();
            let user = graph.nodes.iter_mut().skip(first + 2).find(|node| node.inputs.contains(&active));
            user.expect("is used").inputs[0] = "more".into();
            let both = vec![active.clone(), active];
            graph.nodes.insert(first + 2, Node::new("Max", both, "more".into()));
        },
        // What another node takes in its own way, too.
        |graph, first| {
            let active = graph.nodes[first + 1].outputs[0].clone();
            let tanh = at(graph, "Tanh");
            let last = graph.nodes[tanh].inputs[0].clone();
            let means = Node::new("ReduceMean", vec![active], "means".into());
            let most = Node::new("ReduceMax", vec!["means".into()], "most".into());
            let less = Node::new("Sub", vec![last, "most".into()], "less".into());
            graph.nodes[tanh].inputs[0] = "less".into();
            let before =
                [means.with("axes", Setting::Ints(vec![1])), most.with("axes", Setting::Ints(vec![2, 3])), less];
            graph.nodes.splice(tanh..tanh, before);
        },
        |graph, first| {
            let node = &mut graph.nodes[first + 1];
            node.attributes.push(Attribute { name: "alpha".into(), value: Setting::Int(3) });
            node.op = "LeakyRelu".into();
        },
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut graph = graph.clone();
        change(&mut graph, first);
        if number == 4 {
            // No file has an attribute of that type: it would be refused before.
            let (ours, kernels) = ours(widened(graph), &known).expect("has memory");
            assert_eq!((left(&ours), kernels.len()), (2, 0), "what is not understood is left as it is");
            continue;
        }
        let checked = check(&graph, &info).expect("is a generator");
        let plain = run(&graph, true, &z);
        let (ours, kernels) = ours(widened(graph), &checked).expect("has memory");
        // Alone, the layer of few outputs is left as it is.
        assert_eq!((left(&ours), kernels.len()), if number == 0 { (0, 3) } else { (1, 2) });
        let images = run_with(&ours, &kernels, true, &z);
        let far = plain.iter().zip(images).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
        assert!(far <= 2e-3, "change {number}: {far}");
    }
}

fn at(graph: &Graph<'_>, op: &str) -> usize {
    graph.nodes.iter().position(|node| node.op == op).expect("is there")
}

/// Has what takes `from` take `to`.
fn give(graph: &mut Graph<'_>, from: &str, to: &'static str) {
    let user = graph.nodes.iter_mut().find(|node| node.inputs[0] == from).expect("is taken");
    user.inputs[0] = to.into();
}

/// The weights of the product the other way round.
fn turn(graph: &mut Graph<'_>) {
    let product = at(graph, "Gemm");
    graph.nodes[product] = graph.nodes[product].clone().with("transB", Setting::Int(1));
    let name = graph.nodes[product].inputs[1].clone();
    let weight = graph.weights.iter_mut().find(|weight| weight.name == name).expect("is there");
    let [rows, columns] = weight.shape[..] else { panic!("is a matrix") };
    let values = weight.as_floats().expect("numbers");
    let turned: Vec<f32> = (0..columns * rows).map(|at| values[at % rows * columns + at / rows]).collect();
    *weight = Weight::floats(name, weight.element, &[columns, rows], &turned);
}

/// The product and its bias apart.
fn apart(graph: &mut Graph<'_>) {
    let product = at(graph, "Gemm");
    let node = &mut graph.nodes[product];
    let (bias, output) = (node.inputs.remove(2), node.outputs[0].clone());
    *node = Node::new("MatMul", node.inputs.clone(), "product".into());
    graph.nodes.insert(product + 1, Node::new("Add", vec!["product".into(), bias], output));
}

/// A product of matrices as tools write it, and what only looks like one that is before an image.
#[test]
fn products_before_the_first_layer_are_ours_in_every_form_of_them() {
    type Change = fn(&mut Graph<'_>);
    let ours_are: [(&str, Change); 7] = [
        ("as it is", |_| ()),
        ("of weights the other way round", turn),
        ("product and bias apart", apart),
        ("the bias first", |graph| {
            apart(graph);
            let sum = at(graph, "Add");
            graph.nodes[sum].inputs.reverse();
        }),
        ("no bias", |graph| {
            let product = at(graph, "Gemm");
            graph.nodes[product].inputs.truncate(2);
        }),
        ("the activation before the Reshape", |graph| {
            let (reshape, active) = (at(graph, "Reshape"), at(graph, "Relu"));
            let (first, last) = (graph.nodes[reshape].inputs[0].clone(), graph.nodes[active].outputs[0].clone());
            graph.nodes[active].inputs[0] = first;
            graph.nodes[active].outputs[0] = "active".into();
            graph.nodes[reshape].inputs[0] = "active".into();
            graph.nodes[reshape].outputs[0] = last;
            graph.nodes.swap(reshape, active);
        }),
        ("no activation", |graph| {
            let active = graph.nodes.remove(at(graph, "Relu"));
            let user = graph.nodes.iter_mut().find(|node| node.inputs[0] == active.outputs[0]).expect("is taken");
            user.inputs[0] = active.inputs[0].clone();
        }),
    ];
    let others: [(&str, Change); 5] = [
        ("half of it", |graph| {
            let product = at(graph, "Gemm");
            graph.nodes[product] = graph.nodes[product].clone().with("alpha", Setting::Float(0.5));
        }),
        ("two activations", |graph| {
            let active = at(graph, "Relu");
            let output = graph.nodes[active].outputs[0].clone();
            give(graph, &output, "twice");
            graph.nodes.insert(active + 1, Node::new("LeakyRelu", vec![output], "twice".into()));
        }),
        ("another activation", |graph| {
            let active = at(graph, "Relu");
            graph.nodes[active].op = "Sigmoid".into();
        }),
        ("one bias for all", |graph| {
            let name = graph.nodes[at(graph, "Gemm")].inputs[2].clone();
            let weight = graph.weights.iter_mut().find(|weight| weight.name == name).expect("is there");
            *weight = Weight::floats(name, weight.element, &[1], &[0.1]);
        }),
        ("taken twice", |graph| {
            let active = at(graph, "Relu");
            let output = graph.nodes[active].inputs[0].clone();
            graph.nodes.insert(active, Node::new("Max", vec![output.clone(), output.clone()], "larger".into()));
            graph.nodes[active + 1].inputs[0] = "larger".into();
        }),
    ];
    let bytes = fixture("dcgan-f32.onnx");
    let model = read(&bytes).expect("reads");
    let info = ModelInfo::from_metadata(|key| model.metadata(key)).expect("has metadata");
    let z: Vec<f32> = (0..5 * 48).map(|i| (i as f32 * 0.3).sin() * 2.).collect();
    for ((what, change), products) in ours_are.into_iter().zip([1; 7]).chain(others.into_iter().zip([0; 5])) {
        let mut graph = parts(&bytes).0;
        change(&mut graph);
        let checked = check(&graph, &info).unwrap_or_else(|e| panic!("{what}: {e}"));
        let plain = run(&graph, false, &z);
        let (ours, kernels) = ours(graph, &checked).expect("has memory");
        assert_eq!(kernels.len(), 2 + products, "{what}");
        let left = ours.nodes.iter().filter(|node| matches!(&*node.op, "MatMul" | "Gemm" | "Reshape")).count();
        assert_eq!(left, 2 * (1 - products), "{what}");
        let images = run_with(&ours, &kernels, false, &z);
        let far = plain.iter().zip(images).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
        assert!(far <= 1e-5, "{what}: {far}");
    }
}

/// Batch normalisation of what node number `after` makes, which has so many channels.
fn normalise(graph: &mut Graph<'_>, after: usize, channels: usize, epsilon: Option<f32>) {
    let output = graph.nodes[after].outputs[0].clone();
    graph.nodes[after].outputs[0] = "raw".into();
    for (i, name) in ["scale", "shift", "mean", "variance"].into_iter().enumerate() {
        let value = |c: usize| 0.5 + 0.4 * ((7 * i + c) as f32).sin();
        let values: Vec<f32> = (0..channels).map(value).collect();
        graph.weights.push(Weight::floats(name, ElementType::F32, &[channels], &values));
    }
    let inputs = ["raw", "scale", "shift", "mean", "variance"].map(Into::into).into();
    let mut node = Node::new("BatchNormalization", inputs, output);
    if let Some(epsilon) = epsilon {
        node = node.with("epsilon", Setting::Float(epsilon));
    }
    graph.nodes.insert(after + 1, node);
}

fn normalise_after(graph: &mut Graph<'_>, op: &str, channels: usize, epsilon: Option<f32>) {
    normalise(graph, at(graph, op), channels, epsilon);
}

/// As PyTorch's DCGAN begins: a transposed convolution of one pixel.
fn begins_with_a_pixel(graph: &mut Graph<'_>) {
    let (product, reshape) = (at(graph, "Gemm"), at(graph, "Reshape"));
    let sizes = graph.nodes[reshape].inputs[1].clone();
    graph.nodes[product] = Node::new("Reshape", vec!["z".into(), sizes.clone()], "pixel".into());
    let image = graph.nodes[reshape].outputs[0].clone();
    graph.nodes[reshape] = Node::new("ConvTranspose", ["pixel", "w1", "b1"].map(Into::into).into(), image);
    for weight in &mut graph.weights {
        match &*weight.name {
            name if *name == *sizes => *weight = Weight::sizes(weight.name.clone(), &[-1, 48, 1, 1]),
            "w1" => weight.shape = vec![48, 16, 5, 3],
            "b1" => *weight = Weight::floats("b1", ElementType::F32, &[16], &[0.1, -0.2].repeat(8)),
            _ => (),
        }
    }
}

#[test]
fn what_other_tools_put_around_layers_goes_into_them() {
    type Change = fn(&mut Graph<'_>);
    // How many batch normalisations are left, and how many layers are ours.
    let changes: [(&str, Change, usize, usize); 9] = [
        ("after a layer", |graph| normalise_after(graph, "ConvTranspose", 8, Some(0.1)), 0, 3),
        ("after a product", |graph| normalise_after(graph, "Gemm", 240, None), 0, 3),
        (
            "after a product the other way round",
            |graph| {
                normalise_after(graph, "Gemm", 240, None);
                turn(graph);
            },
            0,
            3,
        ),
        (
            "after a product without a bias",
            |graph| {
                apart(graph);
                let sum = graph.nodes.remove(at(graph, "Add"));
                let product = at(graph, "MatMul");
                graph.nodes[product].outputs = sum.outputs;
                normalise(graph, product, 240, None);
            },
            0,
            3,
        ),
        (
            "after a product and a bias",
            |graph| {
                apart(graph);
                normalise_after(graph, "Add", 240, None);
            },
            1,
            2,
        ),
        ("after an activation", |graph| normalise_after(graph, "Relu", 16, None), 1, 2),
        ("one pixel", |graph| begins_with_a_pixel(graph), 0, 3),
        (
            "one pixel, cut off at the beginning, with as much added at the end",
            |graph| {
                begins_with_a_pixel(graph);
                let first = at(graph, "ConvTranspose");
                for (name, numbers) in
                    [("strides", [2, 2].to_vec()), ("pads", vec![1, 1, 0, 0]), ("output_padding", vec![1, 1])]
                {
                    graph.nodes[first] = graph.nodes[first].clone().with(name, Setting::Ints(numbers));
                }
            },
            0,
            2,
        ),
        (
            "one pixel, normalised",
            |graph| {
                begins_with_a_pixel(graph);
                normalise_after(graph, "ConvTranspose", 16, None);
            },
            0,
            3,
        ),
    ];
    let bytes = fixture("dcgan-f32.onnx");
    let model = read(&bytes).expect("reads");
    let info = ModelInfo::from_metadata(|key| model.metadata(key)).expect("has metadata");
    let z: Vec<f32> = (0..5 * 48).map(|i| (i as f32 * 0.3).sin() * 2.).collect();
    for (what, change, norms, layers) in changes {
        let mut graph = parts(&bytes).0;
        change(&mut graph);
        let checked = check(&graph, &info).unwrap_or_else(|e| panic!("{what}: {e}"));
        let plain = run(&graph, false, &z);
        let (ours, kernels) = ours(graph, &checked).expect("has memory");
        let left = ours.nodes.iter().filter(|node| node.op == "BatchNormalization").count();
        assert_eq!((left, kernels.len()), (norms, layers), "{what}");
        assert_eq!(ours.weights.iter().any(|weight| weight.name == "mean"), norms > 0, "{what}");
        let images = run_with(&ours, &kernels, false, &z);
        let far = plain.iter().zip(images).map(|(a, b)| (a - b).abs()).fold(0., f32::max);
        assert!(far <= 1e-5, "{what}: {far}");
    }
}

/// What is no number when it is folded is left to ONNX Runtime, and so is what would be there once more for each layer that has
/// it.
#[test]
fn normalisation_that_cannot_be_folded_is_left() {
    type Change = fn(&mut Graph<'_>);
    let changes: [(&str, Change); 3] = [
        ("variances below 0", |graph| {
            let weight = graph.weights.iter_mut().find(|weight| weight.name == "variance").expect("is there");
            *weight = Weight::floats("variance", ElementType::F32, &[8], &[-1.; 8]);
        }),
        ("of training", |graph| {
            let norm = at(graph, "BatchNormalization");
            graph.nodes[norm] = graph.nodes[norm].clone().with("training_mode", Setting::Int(1));
        }),
        ("weights that others have", |graph| {
            let name = graph.nodes[at(graph, "ConvTranspose")].inputs[1].clone();
            graph.nodes.push(Node::new("Abs", vec![name], "more".into()));
        }),
    ];
    let bytes = fixture("dcgan-f32.onnx");
    let model = read(&bytes).expect("reads");
    let info = ModelInfo::from_metadata(|key| model.metadata(key)).expect("has metadata");
    let normalised = || {
        let mut graph = parts(&bytes).0;
        normalise_after(&mut graph, "ConvTranspose", 8, None);
        graph
    };
    let checked = check(&normalised(), &info).expect("is a generator");
    for (what, change) in changes {
        let mut graph = normalised();
        change(&mut graph);
        let (ours, _) = ours(graph, &checked).expect("has memory");
        assert!(ours.nodes.iter().any(|node| node.op == "BatchNormalization"), "{what}");
    }
}

/// Weights of few inputs would become many times as many.
#[test]
fn layers_of_few_inputs_are_left() {
    let bytes = fixture("dcgan-f32.onnx");
    let model = read(&bytes).expect("reads");
    let info = ModelInfo::from_metadata(|key| model.metadata(key)).expect("has metadata");
    for inputs in [7, 8] {
        let mut graph = parts(&bytes).0;
        for weight in &mut graph.weights {
            let columns = inputs * 5 * 3;
            let shape = match &*weight.name {
                "w1" => vec![48, columns],
                "b1" => vec![columns],
                "w2" => vec![inputs, 8, 4, 4],
                "shape" => {
                    *weight = Weight::sizes("shape", &[-1, inputs as i64, 5, 3]);
                    continue;
                }
                _ => continue,
            };
            let values = weight.as_floats().expect("numbers");
            let name = weight.name.clone();
            *weight = Weight::floats(name, ElementType::F32, &shape, &values[..shape.iter().product()]);
        }
        let checked = check(&graph, &info).expect("is a generator");
        let (ours, kernels) = ours(graph, &checked).expect("has memory");
        // Without it, the last layer stands alone.
        assert_eq!((left(&ours), kernels.len()), if inputs == 7 { (2, 0) } else { (0, 3) });
    }
}
