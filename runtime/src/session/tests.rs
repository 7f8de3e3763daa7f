//! Weights beside a model, and what ONNX Runtime is given of them.

use super::*;
use crate::engine::environment;
use crate::graph::{ElementType, Node, Port};
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
