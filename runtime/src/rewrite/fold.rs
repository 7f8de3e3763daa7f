//! Batch normalisation that went into the weights of the layer before: with the means and variances of training it is a factor
//! and a summand for each output. ONNX Runtime does that for ordinary convolutions alone.

use super::count_uses;
use crate::graph::{ElementType, Graph, Node, OWN, Setting, Text, Weight};
use crate::model::OUTPUT_IMAGE;
use crate::operators::Checked;
use std::collections::HashMap;

/// What ONNX Runtime adds to variances where nothing is said.
const EPSILON: f32 = 1e-5;

/// `graph` with its batch normalisation folded into transposed convolutions and products of matrices, where these are taken by
/// nothing else.
pub(super) fn folded<'a>(mut graph: Graph<'a>, checked: &Checked) -> Graph<'a> {
    let uses = count_uses(&graph);
    let mut at = 0;
    while at < graph.nodes.len() {
        match fold(&graph, at, &uses, checked) {
            Some((before, node, weights)) => {
                let old = [&graph.nodes[before], &graph.nodes[at]].map(|node| &node.inputs[1..]).concat();
                graph.weights.retain(|weight| !old.contains(&weight.name) || uses.get(&weight.name) != Some(&1));
                graph.weights.extend(weights);
                graph.nodes[before] = node;
                graph.nodes.remove(at);
            }
            None => at += 1,
        }
    }
    graph
}

/// The layer before number `at`, which is a batch normalisation, with that folded into it: where it is, what it becomes, and its
/// weights.
fn fold<'a>(
    graph: &Graph<'a>,
    at: usize,
    uses: &HashMap<Text<'a>, usize>,
    checked: &Checked,
) -> Option<(usize, Node<'a>, [Weight<'a>; 2])> {
    let norm = &graph.nodes[at];
    if norm.op != "BatchNormalization" || norm.outputs.len() != 1 || norm.int("training_mode").unwrap_or(0) != 0 {
        return None;
    }
    let [input, numbers @ ..] = &norm.inputs[..] else { return None };
    if uses.get(input) != Some(&1) || input == OUTPUT_IMAGE {
        return None;
    }
    let before = graph.nodes.iter().position(|node| node.outputs.contains(input))?;
    let node = &graph.nodes[before];
    // What others have as well would be there once more for each of them.
    let weight = graph.weight(node.inputs.get(1)?).filter(|weight| uses.get(&weight.name) == Some(&1))?;
    // The axis of the weight that has the outputs.
    let axis = match (&*node.op, weight.shape.len()) {
        ("ConvTranspose", 4) if node.int("group").unwrap_or(1) == 1 => 1,
        // Of two matrices, as Gemm always is.
        ("MatMul", 2) if checked.value(node.inputs.first()?)?.sizes.len() == 1 => 1,
        ("Gemm", 2) if is_plain(node) => usize::from(node.int("transB").unwrap_or(0) == 0),
        _ => return None,
    };
    let outputs = weight.shape[axis];
    let floats = |name: &Text<'a>| {
        let weight = graph.weight(name).filter(|weight| weight.shape[..] == [outputs])?;
        weight.as_floats()
    };
    let [scale, shift, mean, variance] = numbers else { return None };
    let (scale, shift, mean, variance) = (floats(scale)?, floats(shift)?, floats(mean)?, floats(variance)?);
    let bias = match node.inputs.get(2).filter(|name| !name.is_empty()) {
        Some(name) => floats(name)?,
        None => vec![0.; outputs],
    };
    let epsilon = match norm.attribute("epsilon") {
        None => EPSILON,
        Some(Setting::Float(epsilon)) => *epsilon,
        Some(_) => return None,
    };
    let factors: Vec<f64> = scale
        .iter()
        .zip(&variance)
        .map(|(&scale, &variance)| f64::from(scale) / (f64::from(variance) + f64::from(epsilon)).sqrt())
        .collect();
    let inner: usize = weight.shape[axis + 1..].iter().product();
    let mut values = weight.as_floats()?;
    for (i, value) in values.iter_mut().enumerate() {
        *value = (f64::from(*value) * factors[i / inner % outputs]) as f32;
    }
    let summands: Vec<f32> = (0..outputs)
        .map(|i| (f64::from(shift[i]) + (f64::from(bias[i]) - f64::from(mean[i])) * factors[i]) as f32)
        .collect();
    // A variance of 0, or below it, is for ONNX Runtime to make of it what it does.
    if !values.iter().chain(&summands).all(|x| x.is_finite()) {
        return None;
    }
    let name = |what: &str| -> Text<'a> { format!("{OWN}{}/{what} folded", norm.outputs[0]).into() };
    let weights = [
        Weight::floats(name("weight"), ElementType::F32, &weight.shape, &values),
        Weight::floats(name("bias"), ElementType::F32, &[outputs], &summands),
    ];
    let inputs = vec![node.inputs[0].clone(), weights[0].name.clone(), weights[1].name.clone()];
    let op = if node.op == "MatMul" { "Gemm".into() } else { node.op.clone() };
    Some((before, Node { op, inputs, outputs: norm.outputs.clone(), attributes: node.attributes.clone() }, weights))
}

/// Whether a product is one of two matrices, neither of which is multiplied by something.
pub(super) fn is_plain(node: &Node<'_>) -> bool {
    let is_one = |name: &str| matches!(node.attribute(name), None | Some(Setting::Float(1.)));
    is_one("alpha") && is_one("beta") && node.int("transA").unwrap_or(0) == 0
}
