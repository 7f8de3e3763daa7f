//! Layers that double an image, as operators of our own.

use super::{Layer, layers, replaced};
use crate::doubling::{self, Activation, Doubling, Order, Written};
use crate::graph::{Graph, Node, OWN, Setting, Text, Weight};
use crate::model::OUTPUT_IMAGE;
use crate::operators::Checked;
use std::sync::Arc;

/// What ONNX Runtime takes for the slope of a leaky ReLU that names none.
const SLOPE: f32 = 0.01;

/// `graph` with its transposed convolutions of kernel 4, stride 2 and padding 1 as nodes of our own, and what these compute.
pub(crate) fn doubled<'a>(graph: Graph<'a>, checked: &Checked) -> (Graph<'a>, Vec<Arc<Doubling>>) {
    let mut found = layers(&graph, checked, |window| window.doubles());
    for layer in &mut found {
        // Those of a later version of the operator, with other attributes.
        layer.take_if(|layer| layer.activation.as_ref().is_some_and(|node| activation(node).is_none()));
    }
    // From one to the next, numbers lie as both want them.
    let inputs: Vec<Text<'a>> = found.iter().flatten().map(|layer| layer.input.clone()).collect();
    let linked: Vec<Text<'a>> = found
        .iter()
        .flatten()
        .filter(|layer| layer.used == 1 && layer.output != OUTPUT_IMAGE && inputs.contains(&layer.output))
        .map(|layer| layer.output.clone())
        .collect();
    let order = |name: &Text<'a>| if linked.contains(name) { Order::ChannelsLast } else { Order::Planes };
    let mut made = Vec::new();
    let biases = found.iter().flatten().filter_map(|layer| layer.bias.as_ref().map(|bias| bias.name.clone())).collect();
    let (graph, _) = replaced(graph, found, biases, |graph, layer| {
        let op = format!("{OWN}{}", doubling::name(made.len()));
        let room = format!("{OWN}{}/room", layer.weight.name);
        let (inputs, outputs) = (vec![layer.input.clone()], vec![layer.output.clone(), room.into()]);
        graph.nodes.push(Node { op: op.into(), inputs, outputs, attributes: Vec::new() });
        made.push(Arc::new(doubling(layer, order(&layer.input), order(&layer.output))));
    });
    (graph, made)
}

fn doubling(layer: &Layer<'_>, from: Order, to: Order) -> Doubling {
    Doubling::new(&Written {
        inputs: layer.inputs,
        outputs: layer.outputs,
        size: layer.size,
        kernel: &layer.kernel,
        bias: &layer.bias.as_ref().and_then(Weight::as_floats).unwrap_or_default(),
        activation: layer.activation.as_ref().and_then(activation).unwrap_or(Activation::None),
        from,
        to,
    })
}

fn activation(node: &Node<'_>) -> Option<Activation> {
    match (&*node.op, node.attribute("alpha")) {
        ("Relu", None) => Some(Activation::Relu),
        ("LeakyRelu", None) => Some(Activation::Leaky(SLOPE)),
        ("LeakyRelu", Some(Setting::Float(slope))) => Some(Activation::Leaky(*slope)),
        _ => None,
    }
}
