//! Convolutions with another padding at the beginning than at the end, which cuDNN has not: with the same at both, and a kernel
//! that is as much longer, of zeros.

use crate::graph::{Graph, Node, OWN, Setting, Text, Weight};

/// Padding of more than so many kernels is left as it is.
const MOST: usize = 4;

/// `graph` with all convolutions padded alike at both ends, where that can be.
///
/// An output is made of what begins at `stride o - pads`. More zeros at the beginning of the image are met by as many at the
/// beginning of the kernel, and at the end at its end; neither changes how many outputs there are.
pub(crate) fn even<'a>(mut graph: Graph<'a>) -> Graph<'a> {
    let mut replaced = Vec::new();
    for at in 0..graph.nodes.len() {
        if let Some((node, weight)) = evened(&graph, &graph.nodes[at]) {
            let before = std::mem::replace(&mut graph.nodes[at], node);
            replaced.extend(before.inputs.into_iter().nth(1));
            graph.weights.push(weight);
        }
    }
    replaced.retain(|name| !graph.nodes.iter().any(|node| node.inputs.contains(name)));
    graph.weights.retain(|weight| !replaced.contains(&weight.name));
    graph
}

/// A convolution with even pads, and its weight.
fn evened<'a>(graph: &Graph<'a>, node: &Node<'a>) -> Option<(Node<'a>, Weight<'a>)> {
    if node.op != "Conv" {
        return None;
    }
    let pads: [i64; 4] = node.ints("pads")?.try_into().ok()?;
    let name = node.inputs.get(1)?;
    let weight = graph.weight(name)?;
    let [outputs, inputs, height, width] = weight.shape[..] else { return None };
    let is_dilated = node.ints("dilations").is_some_and(|all| all != [1; 2]);
    if pads[..2] == pads[2..] || pads.iter().any(|&n| n < 0) || is_dilated {
        return None;
    }
    let sides = [pads[0].max(pads[2]), pads[1].max(pads[3])];
    // A file may say anything.
    if sides[0] > (MOST * height) as i64 || sides[1] > (MOST * width) as i64 {
        return None;
    }
    let more = |at: usize| usize::try_from(sides[at % 2] - pads[at]).ok();
    let (above, left) = (more(0)?, more(1)?);
    let (rows, columns) = (height + above + more(2)?, width + left + more(3)?);
    let from = weight.as_floats()?;
    let mut kernel = vec![0f32; outputs * inputs * rows * columns];
    for (number, row) in from.chunks_exact(width).enumerate() {
        let (image, y) = (number / height, number % height);
        kernel[(image * rows + above + y) * columns + left..][..width].copy_from_slice(row);
    }
    let own: Text<'a> = format!("{OWN}{}/even", node.outputs.first()?).into();
    let weight = Weight::floats(own.clone(), weight.element, &[outputs, inputs, rows, columns], &kernel);
    let mut node = node.clone();
    node.inputs[1] = own;
    node.attributes.retain(|attribute| !matches!(&*attribute.name, "pads" | "kernel_shape"));
    let node = node
        .with("pads", Setting::Ints(vec![sides[0], sides[1], sides[0], sides[1]]))
        .with("kernel_shape", Setting::Ints(vec![rows as i64, columns as i64]));
    Some((node, weight))
}
