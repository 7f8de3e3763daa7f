//! Layers as operators of our own, which this crate computes.

use super::fold::{folded, is_plain};
use super::window::Window;
use super::{Layer, count_uses, layers, replaced};
use crate::graph::{Graph, Node, OWN, Setting, Text, Weight};
use crate::kernels::{
    Activation, Doubling, FEW, Kernel, LEAST, NoMemory, Numbers, Order, Projected, Projection, Written, name,
};
use crate::model::OUTPUT_IMAGE;
use crate::operators::Checked;
use std::collections::HashMap;
use std::sync::Arc;

/// What ONNX Runtime takes for the slope of a leaky ReLU that names none.
const SLOPE: f32 = 0.01;

/// `graph` with its transposed convolutions of kernel 4, stride 2 and padding 1 as nodes of our own, and the product of matrices
/// that makes the first one's input; and what these compute.
///
/// # Errors
/// There is no memory for their weights.
pub(crate) fn ours<'a>(graph: Graph<'a>, checked: &Checked) -> Result<(Graph<'a>, Vec<Arc<dyn Kernel>>), NoMemory> {
    let graph = folded(graph, checked);
    let mut found = layers(&graph, checked, |window| window.doubles());
    for layer in &mut found {
        layer.take_if(|layer| {
            // Those of a later version of the operator, with other attributes.
            let is_other = layer.activation.as_ref().is_some_and(|node| activation(node).is_none());
            // Weights are added up, four at most, where ONNX Runtime multiplies by each.
            let is_huge = layer.kernel.iter().any(|weight| weight.abs() > f32::MAX / 4.);
            is_other || is_huge || layer.inputs < LEAST
        });
    }
    let uses = count_uses(&graph);
    let projections: Vec<Found<'a>> =
        found.iter().flatten().filter_map(|layer| projection(&graph, layer, &uses, checked)).collect();
    // From one to the next, numbers lie as both want them.
    let inputs: Vec<Text<'a>> = found.iter().flatten().map(|layer| layer.input.clone()).collect();
    let linked: Vec<Text<'a>> = found
        .iter()
        .flatten()
        .filter(|layer| layer.used == 1 && layer.output != OUTPUT_IMAGE && inputs.contains(&layer.output))
        .map(|layer| layer.output.clone())
        .chain(projections.iter().map(|found| found.output.clone()))
        .collect();
    let order = |name: &Text<'a>| if linked.contains(name) { Order::ChannelsLast } else { Order::Planes };
    for layer in &mut found {
        // Alone, what is computed as it is written gains less than it costs to turn its input.
        layer.take_if(|layer| {
            layer.outputs <= FEW && [&layer.input, &layer.output].iter().all(|name| order(name) == Order::Planes)
        });
    }
    let mut made: Vec<Arc<dyn Kernel>> = Vec::new();
    let mut node = |input: &Text<'a>, output: &Text<'a>, kernel: Arc<dyn Kernel>| {
        let op = format!("{OWN}{}", name(made.len()));
        let room = format!("{OWN}{output}/room");
        made.push(kernel);
        let (inputs, outputs) = (vec![input.clone()], vec![output.clone(), room.into()]);
        Node { op: op.into(), inputs, outputs, attributes: Vec::new() }
    };
    let biases = found.iter().flatten().filter_map(|layer| layer.bias.as_ref().map(|bias| bias.name.clone())).collect();
    let doublings = found.iter().flatten().map(|layer| doubling(layer, order(&layer.input), order(&layer.output)));
    let mut doublings = doublings.collect::<Result<Vec<_>, _>>()?.into_iter();
    let (mut graph, _) = replaced(graph, found, biases, |graph, layer| {
        if let Some(kernel) = doublings.next() {
            graph.nodes.push(node(&layer.input, &layer.output, Arc::new(kernel)));
        }
    });
    for Found { input, output, replaces, weights, layer } in projections {
        // The last of them makes the output, when all before are there.
        let is_one = |node: &Node<'a>| node.outputs.iter().any(|output| replaces.contains(output));
        if let Some(last) = graph.nodes.iter().rposition(is_one) {
            graph.nodes[last] = node(&input, &output, Arc::new(Projection::new(&layer)?));
        }
        graph.nodes.retain(|node| node.op.starts_with(OWN) || !is_one(node));
        graph.weights.retain(|weight| !weights.contains(&weight.name));
    }
    Ok((graph, made))
}

fn doubling(layer: &Layer<'_>, from: Order, to: Order) -> Result<Doubling, NoMemory> {
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

/// A product of matrices, and what is made of it until it is the input of a layer.
struct Found<'a> {
    input: Text<'a>,
    output: Text<'a>,
    /// The outputs of the nodes that it is in the place of.
    replaces: Vec<Text<'a>>,
    /// What these alone have as weights.
    weights: Vec<Text<'a>>,
    layer: Projected,
}

/// The product that the input of `layer` is, where nothing else takes what is between: MatMul and Add, or Gemm, an activation
/// and a Reshape, of which the activation may come after the Reshape, and be missing; or, as PyTorch's DCGAN begins, a transposed
/// convolution of one pixel.
fn projection<'a>(
    graph: &Graph<'a>,
    layer: &Layer<'a>,
    uses: &HashMap<Text<'a>, usize>,
    checked: &Checked,
) -> Option<Found<'a>> {
    let is_one = |name: &Text<'a>| uses.get(name) == Some(&1) && name != OUTPUT_IMAGE;
    let mut replaces = Vec::new();
    let mut made_by = |name: &Text<'a>| {
        let node = graph.nodes.iter().find(|node| node.outputs.contains(name)).filter(|_| is_one(name))?;
        replaces.push(name.clone());
        Some(node)
    };
    let own = |name: &Text<'a>| graph.weight(name).filter(|weight| uses.get(&weight.name) == Some(&1));
    let third = |node: &Node<'a>| match node.inputs.get(2).filter(|name| !name.is_empty()) {
        Some(name) => Some(Some(own(name)?)),
        None => Some(None),
    };
    let mut active = Activation::None;
    let mut node = made_by(&layer.input)?;
    let mut is_reshaped = false;
    loop {
        match (&*node.op, activation(node)) {
            ("Reshape", _) if !is_reshaped => is_reshaped = true,
            (_, Some(found)) if active == Activation::None => active = found,
            _ => break,
        }
        node = made_by(node.inputs.first()?)?;
    }
    let mut bias = None;
    if node.op == "Add" {
        let [a, b] = &node.inputs[..] else { return None };
        let (value, weight) = if own(b).is_some() { (a, own(b)?) } else { (b, own(a)?) };
        (bias, node) = (Some(weight), made_by(value)?);
    }
    let (input, weight) = (node.inputs.first()?, own(node.inputs.get(1)?)?);
    let value = checked.value(input)?;
    let pixels = layer.size[0] * layer.size[1];
    // How many columns have a bias together.
    let (transposed, mut alike) = (node.int("transB").unwrap_or(0) != 0, 1);
    let (inner, columns) = match (&*node.op, &weight.shape[..]) {
        ("MatMul", &[inner, columns]) if is_reshaped => (inner, columns),
        ("Gemm", &[rows, columns]) if is_reshaped && bias.is_none() && is_plain(node) => {
            bias = third(node)?;
            if transposed { (columns, rows) } else { (rows, columns) }
        }
        ("ConvTranspose", &[inner, outputs, rows, columns]) if !is_reshaped && bias.is_none() => {
            let is_pixel = value.sizes[..] == [inner, 1, 1] && [rows, columns] == layer.size;
            Window::of(node, [rows, columns]).filter(|window| is_pixel && window.is_whole())?;
            (bias, alike) = (third(node)?, pixels);
            (inner, outputs * pixels)
        }
        _ => return None,
    };
    let fits = value.per_sample
        && value.sizes.iter().product::<usize>() == inner
        && (is_reshaped || value.sizes.len() == 3)
        && columns == layer.inputs * pixels
        && columns > 0
        && inner > 0;
    // One for each: what is one number for all of them, or for a sample, is left as it is.
    let count = columns / alike;
    let has_all = |bias: &Weight<'a>| bias.shape.last() == Some(&count) && bias.len() == Some(count);
    if !fits || !bias.is_none_or(has_all) {
        return None;
    }
    let numbers = match weight.as_halves() {
        Some(halves) => Numbers::F16(halves),
        None => Numbers::F32(weight.as_floats()?),
    };
    let weights = [Some(weight), bias].into_iter().flatten().map(|weight| weight.name.clone()).collect();
    let bias = match bias {
        Some(bias) => bias.as_floats()?.into_iter().flat_map(|x| std::iter::repeat_n(x, alike)).collect(),
        None => vec![0.; columns],
    };
    let projected = Projected { weights: numbers, transposed, bias, activation: active, size: layer.size };
    Some(Found { input: input.clone(), output: layer.input.clone(), replaces, weights, layer: projected })
}
