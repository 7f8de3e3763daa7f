//! Convolutions with another padding at the beginning than at the end, which cuDNN has not: with the same at both, and a kernel
//! that is as much longer, of zeros.

use crate::graph::{Attribute, Graph, Node, OWN, Setting, Text, Weight};
use std::collections::{HashMap, HashSet};

/// `graph` with all convolutions padded alike at both ends, where that can be: not where they are padded by more than their
/// kernel, which would become many times as large.
///
/// An output is made of what begins at `stride o - pads`. More zeros at the beginning of the image are met by as many at the
/// beginning of the kernel, and at the end at its end; neither changes how many outputs there are.
pub(crate) fn even<'a>(mut graph: Graph<'a>) -> Graph<'a> {
    let mut replaced = HashSet::new();
    // Those that have a weight together have one together.
    let mut made: HashMap<(Text<'a>, [i64; 4]), Text<'a>> = HashMap::new();
    for at in 0..graph.nodes.len() {
        let Some((pads, from)) = uneven(&graph, &graph.nodes[at]) else { continue };
        let key = (from.name.clone(), pads);
        let own = match made.get(&key) {
            Some(own) => own.clone(),
            None => {
                let own: Text<'a> = format!("{OWN}{at}/even").into();
                let Some(weight) = longer(from, pads, own.clone()) else { continue };
                graph.weights.push(weight);
                made.insert(key.clone(), own.clone());
                own
            }
        };
        replaced.insert(key.0);
        put(&mut graph.nodes[at], pads, own);
    }
    for name in graph.nodes.iter().flat_map(|node| &node.inputs) {
        replaced.remove(name);
    }
    graph.weights.retain(|weight| !replaced.contains(&weight.name));
    graph
}

/// The pads and the weight of a convolution that is padded otherwise at its beginning than at its end.
fn uneven<'g, 'a>(graph: &'g Graph<'a>, node: &Node<'a>) -> Option<([i64; 4], &'g Weight<'a>)> {
    if node.op != "Conv" {
        return None;
    }
    let pads: [i64; 4] = node.ints("pads")?.try_into().ok()?;
    let weight = graph.weight(node.inputs.get(1)?)?;
    let [_, _, height, width] = weight.shape[..] else { return None };
    let is_dilated = node.ints("dilations").is_some_and(|all| all != [1; 2]);
    let [y, x] = most(pads);
    // A file may say anything.
    let fits = pads.iter().all(|&n| n >= 0) && y <= height as i64 && x <= width as i64;
    (fits && pads[..2] != pads[2..] && !is_dilated).then_some((pads, weight))
}

/// The larger pad of each axis.
fn most([above, left, below, right]: [i64; 4]) -> [i64; 2] {
    [above.max(below), left.max(right)]
}

/// A weight whose kernels are as much longer as the pads of both ends differ.
fn longer<'a>(weight: &Weight<'a>, pads: [i64; 4], name: Text<'a>) -> Option<Weight<'a>> {
    let [outputs, inputs, height, width] = weight.shape[..] else { return None };
    let sides = most(pads);
    let more = |at: usize| usize::try_from(sides[at % 2] - pads[at]).ok();
    let (above, left) = (more(0)?, more(1)?);
    let (rows, columns) = (height + above + more(2)?, width + left + more(3)?);
    let mut kernel = vec![0f32; outputs * inputs * rows * columns];
    for (number, row) in weight.as_floats()?.chunks_exact(width).enumerate() {
        let (image, y) = (number / height, number % height);
        kernel[(image * rows + above + y) * columns + left..][..width].copy_from_slice(row);
    }
    Some(Weight::floats(name, weight.element, &[outputs, inputs, rows, columns], &kernel))
}

/// Has a convolution use such a weight.
fn put<'a>(node: &mut Node<'a>, pads: [i64; 4], weight: Text<'a>) {
    node.inputs[1] = weight;
    node.attributes.retain(|attribute| !matches!(&*attribute.name, "pads" | "kernel_shape"));
    let [y, x] = most(pads);
    let pads = Attribute { name: "pads".into(), value: Setting::Ints(vec![y, x, y, x]) };
    node.attributes.push(pads);
}
