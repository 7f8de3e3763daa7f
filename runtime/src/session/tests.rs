//! Weights beside a model, and what ONNX Runtime is given of them.

use super::*;
use crate::engine::environment;
use crate::graph::{ElementType, Node, Port, Setting};
use crate::model::{INPUT_LATENT, OUTPUT_IMAGE, plain};
use ort::session::builder::SessionBuilder;
use safetensors::tensor::{Dtype, TensorView};

/// z [N, 4] -> [N, 1, 1, 4] -> resized by `scales`, which a file beside it may have, too.
fn resized(scales: &[f32]) -> Graph<'static> {
    let port = |name: &'static str, shape: &[Option<usize>]| Port {
        name: name.into(),
        element: ElementType::F32 as u64,
        shape: shape.to_vec(),
    };
    Graph {
        opset: 17,
        inputs: vec![port(INPUT_LATENT, &[None, Some(4)])],
        outputs: vec![port(OUTPUT_IMAGE, &[None, Some(1), Some(1), Some(4)])],
        weights: vec![
            Weight::sizes("shape", &[-1, 1, 1, 4]),
            Weight::floats("scales", ElementType::F32, &[4], scales),
            Weight::floats("none", ElementType::F16, &[0], &[]),
        ],
        nodes: vec![
            Node::new("Reshape", vec![INPUT_LATENT.into(), "shape".into()], "x".into()),
            Node::new("Resize", vec!["x".into(), "none".into(), "scales".into()], OUTPUT_IMAGE.into()),
        ],
    }
}

/// What says how much is computed is checked as it runs, not as the file has it that another replaces.
#[test]
fn weights_that_say_how_much_is_computed_are_checked_again() {
    let tensors = |scales: [f32; 4]| {
        let bytes: Vec<u8> = scales.iter().flat_map(|scale| scale.to_le_bytes()).collect();
        let scales = TensorView::new(Dtype::F32, vec![4], &bytes).expect("fits");
        let none = TensorView::new(Dtype::F16, vec![0], &[]).expect("fits");
        let file = safetensors::serialize([("scales", scales), ("none", none)], None).expect("serialises");
        Tensors::of(Bytes::given(file.into()).expect("bytes"), Path::new("beside")).expect("a file")
    };
    let check = |of: [f32; 4]| filled(resized(&[1.; 4]), &tensors(of), &plain(4, 4)).map(drop);
    assert!(check([1.; 4]).is_ok());
    for wrong in [[1., 1., 40., 40.], [2., 1., 1., 1.], [1., 1., 1., f32::MAX]] {
        let fault = check(wrong).expect_err("computes something else");
        assert!(fault.what.contains("scales") || fault.what.contains("must be of"), "{}", fault.what);
    }
}

/// A weight without elements has no place in memory.
#[test]
fn an_empty_weight_of_half_precision_is_given_to_onnx_runtime() {
    let graph = graph::widened(resized(&[1.; 4]));
    let options = SessionBuilder::new(environment().expect("a library")).expect("a builder");
    // SAFETY: all weights are the graph's own, and copied.
    unsafe { graph::build::session(&graph, &options) }.expect("is taken");
}

/// z [N, latent] and these nodes, of which the first takes `x` [latent, 1, 1] and the last makes an image [1, height, width].
fn layers(
    latent: usize,
    [height, width]: [usize; 2],
    nodes: Vec<Node<'static>>,
    weights: Vec<Weight<'static>>,
) -> Graph<'static> {
    let mut graph = resized(&[1.; 4]);
    graph.inputs[0].shape[1] = Some(latent);
    graph.outputs[0].shape = vec![None, Some(1), Some(height), Some(width)];
    let first = Node::new("Reshape", vec![INPUT_LATENT.into(), "first".into()], "x".into());
    graph.nodes = [first].into_iter().chain(nodes).collect();
    graph.weights = [Weight::sizes("first", &[-1, latent as i64, 1, 1])].into_iter().chain(weights).collect();
    graph
}

/// What happens when a graph is opened on the CPU.
fn opened(graph: Graph<'static>, [latent, height, width]: [usize; 3], options: &Options) -> Result<()> {
    let image = crate::model::ImageShape { channels: 1, height, width };
    let info = ModelInfo { image, ..plain(latent, height * width) };
    let checked = operators::check(&graph, &info).expect("is a generator");
    // SAFETY: all weights are the graph's own.
    unsafe { open::runner(graph, &checked, Path::new("many.onnx"), options, Target::Cpu { why: None }) }.map(drop)
}

/// A small file must not take gigabytes.
#[test]
fn weights_that_are_arranged_for_each_of_very_many_nodes_are_refused() {
    const SIDE: usize = 512;
    let graph = |count: usize| {
        let name = |i: usize| -> crate::graph::Text<'static> { format!("y{i}").into() };
        let to_row = Node::new("Reshape", vec!["x".into(), "row".into()], name(0));
        let products = (0..count).map(|i| Node::new("MatMul", vec![name(i), "w".into()], name(i + 1)));
        let last = Node::new("Reshape", vec![name(count), "last".into()], OUTPUT_IMAGE.into());
        let w = Weight::floats("w", ElementType::F32, &[SIDE, SIDE], &vec![0.; SIDE * SIDE]);
        let sizes = [Weight::sizes("row", &[-1, SIDE as i64]), Weight::sizes("last", &[-1, 1, 16, 32])];
        layers(
            SIDE,
            [16, 32],
            [to_row].into_iter().chain(products).chain([last]).collect(),
            [w].into_iter().chain(sizes).collect(),
        )
    };
    // A mebibyte each; 1024 of them beside the first one are allowed.
    let open = |count, options: &Options| opened(graph(count), [SIDE, 16, 32], options);
    let error = open(1026, &Options::default()).expect_err("takes more than a gibibyte");
    assert_eq!(error.kind(), ErrorKind::MemoryLimit);
    assert!(error.to_string().contains("many.onnx: has nodes that use the same weights"), "{error}");
    assert!(error.what().contains("options.prepack = Some(false)"), "{error}");
    open(1026, &Options { prepack: Some(false), ..Options::default() }).expect("uses them as they are");
    open(30, &Options::default()).expect("takes little");
}

/// The room that layers of our own compute in is counted.
#[test]
fn threads_that_take_too_much_room_are_refused() {
    const INPUTS: usize = 4096;
    let weight = |name: &'static str, shape: &[usize]| {
        Weight::floats(name, ElementType::F32, shape, &vec![0.; shape.iter().product()])
    };
    let layer = |x: &'static str, w: &'static str, y: &'static str| {
        Node::new("ConvTranspose", vec![x.into(), w.into()], y.into())
            .with("strides", Setting::Ints(vec![2, 2]))
            .with("pads", Setting::Ints(vec![1; 4]))
    };
    let open = |threads: usize| {
        let nodes = vec![layer("x", "a", "y"), layer("y", "b", OUTPUT_IMAGE)];
        let weights = vec![weight("a", &[INPUTS, 9, 4, 4]), weight("b", &[9, 1, 4, 4])];
        let options = Options { threads, rewrite: Some(true), ..Options::default() };
        opened(layers(INPUTS, [4, 4], nodes, weights), [INPUTS, 4, 4], &options)
    };
    // Each takes 5 x 5 terms of 24 tiles of 4096 numbers: 10 MB.
    let error = open(1024 * 2).expect_err("take more than 16 GiB");
    assert_eq!(error.kind(), ErrorKind::MemoryLimit);
    assert!(error.what().contains("options.threads 2048"), "{error}");
    open(1).expect("takes little");
}
