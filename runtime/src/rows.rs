//! Products of matrices that give a row the same bits, however many rows there are.
//!
//! A product of one row with weights as they lie in the file has a kernel of its own in ONNX Runtime, which adds up in another
//! order than the one for several: a batch of one image would differ in its last bits. It takes that kernel only where the
//! factor `alpha` of the product is 1. So that one is written as 2, and the row halved: both are exact. Others stay.

use crate::graph::{Element, Graph, Node, OWN, Setting, Text, Weight};
use crate::operators::Checked;

/// `graph` with its products so written, and whether all of them could be; the others need their weights arranged beforehand.
pub(crate) fn alike<'a>(mut graph: Graph<'a>, checked: &Checked) -> (Graph<'a>, bool) {
    let half: Text<'a> = format!("{OWN}half").into();
    let (mut nodes, mut used, mut all) = (Vec::new(), false, true);
    for (i, mut node) in std::mem::take(&mut graph.nodes).into_iter().enumerate() {
        let input = |at: usize| node.inputs.get(at).and_then(|name: &Text<'_>| checked.value(name));
        let is_product = match (&*node.op, input(0), input(1)) {
            ("Gemm", Some(rows), _) => rows.per_sample,
            ("MatMul", Some(rows), Some(weight)) if rows.per_sample && !weight.per_sample => {
                // Where samples are the rows, it is written as the other kind of product.
                if rows.sizes.len() == 1 && weight.sizes.len() == 2 {
                    node.op = "Gemm".into();
                    true
                } else {
                    all &= rows.sizes.iter().rev().skip(1).product::<usize>() > 1;
                    false
                }
            }
            _ => false,
        };
        let is_plain = node.attribute("alpha").is_none_or(|alpha| *alpha == Setting::Float(1.));
        if is_product && is_plain {
            node.attributes.retain(|attribute| attribute.name != "alpha");
            let name: Text<'a> = format!("{OWN}half of {i}").into();
            nodes.push(Node::new("Mul", vec![node.inputs[0].clone(), half.clone()], name.clone()));
            node.inputs[0] = name;
            node = node.with("alpha", Setting::Float(2.));
            used = true;
        }
        nodes.push(node);
    }
    graph.nodes = nodes;
    if used {
        graph.weights.push(Weight { shape: Vec::new(), ..Weight::floats(half, Element::F32, &[1], &[0.5]) });
    }
    (graph, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::read;
    use crate::model::ModelInfo;
    use crate::operators::check;

    #[test]
    fn no_factor_is_1_afterwards() {
        let path = format!("{}/tests/fixtures/dcgan-f32.onnx", env!("CARGO_MANIFEST_DIR"));
        let bytes = std::fs::read(path).expect("reads");
        for (alpha, expected) in [(None, 2.), (Some(1.), 2.), (Some(0.5), 0.5), (Some(3.), 3.)] {
            let mut model = read(&bytes).expect("reads");
            let info = ModelInfo::from_metadata(|key| model.metadata(key)).expect("has metadata");
            let node = model.graph.nodes.iter_mut().find(|node| node.op == "Gemm").expect("has one");
            node.attributes.retain(|attribute| attribute.name != "alpha");
            if let Some(alpha) = alpha {
                *node = node.clone().with("alpha", Setting::Float(alpha));
            }
            let checked = check(&model.graph, &info).expect("is a generator");
            let (graph, all) = alike(model.graph, &checked);
            let node = graph.nodes.iter().find(|node| node.op == "Gemm").expect("has one");
            assert_eq!((node.attribute("alpha"), all), (Some(&Setting::Float(expected)), true), "{alpha:?}");
        }
    }
}
