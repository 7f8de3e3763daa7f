//! Between which numbers the values of a graph lie, as far as its last layers tell.

use crate::graph::{Graph, Node};
use std::collections::HashMap;

/// Most numbers of a constant that is looked at.
const MAX_RANGED: usize = 4096;

/// The least and the greatest value.
pub(super) type Range = (f64, f64);

/// The ranges of images that are recognised.
const KNOWN: [Range; 3] = [(-1., 1.), (0., 1.), (0., 255.)];

/// The range of images that the value `name` has, if the graph tells.
pub(super) fn of_images(graph: &Graph<'_>, name: &str) -> Option<Range> {
    let (low, high) = of(graph, name)?;
    KNOWN.into_iter().find(|known| {
        let near = (known.1 - known.0) * 1e-3;
        (low - known.0).abs() <= near && (high - known.1).abs() <= near
    })
}

/// Between which numbers the value `name` lies.
fn of(graph: &Graph<'_>, name: &str) -> Option<Range> {
    let mut ranges: HashMap<&str, Range> = HashMap::new();
    for weight in graph.weights.iter().filter(|weight| weight.len().is_some_and(|len| len <= MAX_RANGED)) {
        let numbers = weight.as_floats().unwrap_or_default();
        if let Some(range) = numbers.iter().map(|&x| (f64::from(x), f64::from(x))).reduce(union) {
            ranges.insert(&weight.name, range);
        }
    }
    for node in &graph.nodes {
        if let Some(range) = made(node, &ranges).filter(|(low, high)| low.is_finite() && high.is_finite()) {
            ranges.extend(node.outputs.iter().map(|name| (&**name, range)));
        }
    }
    ranges.get(name).copied()
}

fn union(a: Range, b: Range) -> Range {
    (a.0.min(b.0), a.1.max(b.1))
}

/// The range of what a node makes of what it takes.
fn made(node: &Node<'_>, ranges: &HashMap<&str, Range>) -> Option<Range> {
    let input = |i: usize| node.inputs.get(i).and_then(|name| ranges.get(&**name)).copied();
    let two = |op: fn(f64, f64) -> f64| {
        let ((a, b), (c, d)) = (input(0)?, input(1)?);
        [op(a, c), op(a, d), op(b, c), op(b, d)].into_iter().map(|x| (x, x)).reduce(union)
    };
    match &*node.op {
        "Tanh" | "Erf" | "Sin" | "Cos" | "Softsign" => Some((-1., 1.)),
        "Sigmoid" | "HardSigmoid" | "Softmax" => Some((0., 1.)),
        "Clip" => {
            let all = input(0).unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
            let bound = |i: usize, none: f64| match node.inputs.get(i).filter(|name| !name.is_empty()) {
                Some(_) => input(i).map(|(x, _)| x),
                None => Some(none),
            };
            let (low, high) = (bound(1, f64::NEG_INFINITY)?, bound(2, f64::INFINITY)?);
            Some((all.0.clamp(low, high.max(low)), all.1.clamp(low, high.max(low))))
        }
        "Add" => two(|a, b| a + b),
        "Sub" => two(|a, b| a - b),
        "Mul" => two(|a, b| a * b),
        "Div" => match input(1)? {
            (low, high) if low <= 0. && high >= 0. => None,
            _ => two(|a, b| a / b),
        },
        "Neg" => input(0).map(|(low, high)| (-high, -low)),
        // Each bounds one side of what is not known.
        "Min" | "Max" if node.inputs.len() == 2 => {
            let op = if node.op == "Min" { f64::min } else { f64::max };
            let any = |range: Option<Range>| range.unwrap_or((f64::NEG_INFINITY, f64::INFINITY));
            let (a, b) = (any(input(0)), any(input(1)));
            Some((op(a.0, b.0), op(a.1, b.1)))
        }
        "Relu" => input(0).map(|(low, high)| (low.max(0.), high.max(0.))),
        "Floor" => input(0).map(|(low, high)| (low.floor(), high.floor())),
        "Concat" => (0..node.inputs.len()).map(input).collect::<Option<Vec<_>>>()?.into_iter().reduce(union),
        "Cast" | "DepthToSpace" | "Expand" | "Flatten" | "Gather" | "GlobalAveragePool" | "Identity" | "Reshape"
        | "Slice" | "Split" | "Squeeze" | "Tile" | "Transpose" | "Unsqueeze" => input(0),
        _ => None,
    }
}
