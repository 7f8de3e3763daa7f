//! The same graph in single precision, for processors, which compute in it anyway: what is written in half precision is
//! widened once when it is opened, and nothing is converted between the layers.

use super::{Data, Element, Graph, Node, OWN, Port, Setting, Text};
use std::borrow::Cow;

/// `graph` with all weights and values in f32; inputs and outputs stay what they are.
pub(crate) fn widened(mut graph: Graph<'_>) -> Graph<'_> {
    let is_half = |port: &&Port<'_>| port.element == Element::F16 as u64;
    if graph.weights.iter().all(|weight| weight.element != Element::F16)
        && !graph.inputs.iter().chain(&graph.outputs).any(|port| is_half(&port))
    {
        return graph;
    }
    for weight in &mut graph.weights {
        if weight.element == Element::F16 {
            weight.element = Element::F32;
            weight.data = match std::mem::replace(&mut weight.data, Data::Bytes(Cow::Borrowed(&[]))) {
                Data::Bytes(bytes) => Data::Halves(bytes),
                other => other,
            };
        }
    }
    let halves = |ports: &[Port<'_>]| ports.iter().filter(is_half).map(|port| port.name.clone().into_owned()).collect();
    let (inputs, outputs): (Vec<String>, Vec<String>) = (halves(&graph.inputs), halves(&graph.outputs));
    for node in &mut graph.nodes {
        for name in node.inputs.iter_mut().chain(&mut node.outputs) {
            if inputs.iter().chain(&outputs).any(|port| port == name) {
                *name = wide(name);
            }
        }
        for attribute in &mut node.attributes {
            if node.op == "Cast" && attribute.value == Setting::Int(Element::F16 as i64) {
                attribute.value = Setting::Int(Element::F32 as i64);
            }
        }
    }
    let cast = |from: Text<'static>, to: Text<'static>, element: Element| {
        Node::new("Cast", vec![from], to).with("to", Setting::Int(element as i64))
    };
    let before: Vec<_> = inputs.into_iter().map(|name| cast(name.clone().into(), wide(&name), Element::F32)).collect();
    graph.nodes.splice(0..0, before);
    graph.nodes.extend(outputs.into_iter().map(|name| cast(wide(&name), name.into(), Element::F16)));
    graph
}

/// The name of the f32 form of an f16 input or output.
fn wide(name: &str) -> Text<'static> {
    format!("{OWN}{name}{WIDE}").into()
}

const WIDE: &str = "/wide";

/// The name in the file of a value.
pub(crate) fn in_file(name: &str) -> &str {
    name.strip_prefix(OWN).and_then(|name| name.strip_suffix(WIDE)).unwrap_or(name)
}
