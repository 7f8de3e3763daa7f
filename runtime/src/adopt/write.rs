//! Writes a generator file: <https://github.com/onnx/onnx/blob/main/docs/IR.md>. Field numbers are those of `onnx.proto`.

use crate::graph::{Graph, Node, Port, Setting};
use crate::weights::MAX_FILE_BYTES;
use crate::wire::{Payload, write};

/// The bytes of a model: a graph, the remarks of the file that it came from, and a description.
///
/// # Errors
/// Weights that are not in memory; more than a file may have.
pub(super) fn model(
    graph: &Graph<'_>,
    remarks: &[(u32, Payload<'_>)],
    metadata: &[(&'static str, String)],
) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    // The oldest version of the format that has operators of this version.
    let format = match graph.opset {
        ..=18 => 8,
        19..=20 => 9,
        _ => 10,
    };
    write::number(&mut out, 1, format);
    for (number, value) in remarks {
        match value {
            Payload::Varint(n) => write::number(&mut out, *number, *n),
            Payload::Bytes(bytes) => write::bytes(&mut out, *number, bytes),
            Payload::Fixed64 | Payload::Fixed32(_) => (),
        }
    }
    let mut opset = Vec::new();
    write::number(&mut opset, 2, graph.opset as u64);
    write::bytes(&mut out, 8, &opset);
    for (key, value) in metadata {
        let mut entry = Vec::new();
        write::bytes(&mut entry, 1, key.as_bytes());
        write::bytes(&mut entry, 2, value.as_bytes());
        write::bytes(&mut out, 14, &entry);
    }
    let parts = parts(graph)?;
    // Weights outside the file may all be the same bytes of another.
    let length =
        parts.iter().fold(0usize, |sum, (head, data)| sum.saturating_add(head.len()).saturating_add(data.len()));
    if length as u64 > MAX_FILE_BYTES {
        return Err(format!("has weights of {length} bytes, allowed is a file of 1 to {MAX_FILE_BYTES}"));
    }
    out.reserve_exact(length + 16);
    write::varint(&mut out, 7 << 3 | 2);
    write::varint(&mut out, length as u64);
    for (head, data) in parts {
        out.extend_from_slice(&head);
        out.extend_from_slice(data);
    }
    Ok(out)
}

/// A beginning of a field, and the rest, which is where it is.
type Part<'g> = (Vec<u8>, &'g [u8]);

/// The fields of a graph, with the weights' elements where they are.
fn parts<'g>(graph: &'g Graph<'_>) -> Result<Vec<Part<'g>>, String> {
    let mut head = Vec::new();
    graph.nodes.iter().for_each(|item| write::bytes(&mut head, 1, &node(item)));
    write::bytes(&mut head, 2, b"generator");
    graph.inputs.iter().for_each(|item| write::bytes(&mut head, 11, &port(item)));
    graph.outputs.iter().for_each(|item| write::bytes(&mut head, 12, &port(item)));
    let mut parts = vec![(head, &[][..])];
    for weight in &graph.weights {
        let data = weight.bytes().ok_or_else(|| format!("has no data for {weight}"))?;
        let mut inner = Vec::new();
        weight.shape.iter().for_each(|&n| write::number(&mut inner, 1, n as u64));
        write::number(&mut inner, 2, weight.element as u64);
        write::bytes(&mut inner, 8, weight.name.as_bytes());
        write::varint(&mut inner, 9 << 3 | 2);
        write::varint(&mut inner, data.len() as u64);
        let mut head = Vec::new();
        write::varint(&mut head, 5 << 3 | 2);
        write::varint(&mut head, (inner.len() + data.len()) as u64);
        head.extend(inner);
        parts.push((head, data));
    }
    Ok(parts)
}

fn node(node: &Node<'_>) -> Vec<u8> {
    let mut out = Vec::new();
    node.inputs.iter().for_each(|name| write::bytes(&mut out, 1, name.as_bytes()));
    node.outputs.iter().for_each(|name| write::bytes(&mut out, 2, name.as_bytes()));
    write::bytes(&mut out, 4, node.op.as_bytes());
    for attribute in &node.attributes {
        let mut inner = Vec::new();
        write::bytes(&mut inner, 1, attribute.name.as_bytes());
        let kind = match &attribute.value {
            Setting::Float(x) => {
                write::float(&mut inner, 2, *x);
                1
            }
            Setting::Int(n) => {
                write::number(&mut inner, 3, *n as u64);
                2
            }
            Setting::Text(text) => {
                write::bytes(&mut inner, 4, text.as_bytes());
                3
            }
            Setting::Ints(all) => {
                all.iter().for_each(|n| write::number(&mut inner, 8, *n as u64));
                7
            }
        };
        write::number(&mut inner, 20, kind);
        write::bytes(&mut out, 5, &inner);
    }
    out
}

fn port(port: &Port<'_>) -> Vec<u8> {
    let mut shape = Vec::new();
    for size in &port.shape {
        let mut inner = Vec::new();
        match size {
            Some(n) => write::number(&mut inner, 1, *n as u64),
            None => write::bytes(&mut inner, 2, b"N"),
        }
        write::bytes(&mut shape, 1, &inner);
    }
    let (mut tensor, mut kind, mut out) = (Vec::new(), Vec::new(), Vec::new());
    write::number(&mut tensor, 1, port.element);
    write::bytes(&mut tensor, 2, &shape);
    write::bytes(&mut kind, 1, &tensor);
    write::bytes(&mut out, 1, port.name.as_bytes());
    write::bytes(&mut out, 2, &kind);
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::{Data, ElementType, Weight};

    /// Weights outside a file may all be the same of another: no file is made of a terabyte.
    #[test]
    fn weights_of_more_than_a_file_are_refused_before_they_are_copied() {
        let same = vec![0u8; 64 << 20];
        let weight = |number: usize| Weight {
            name: number.to_string().into(),
            element: ElementType::F32,
            shape: vec![16 << 20],
            data: Data::Bytes((&same[..]).into()),
        };
        let graph = Graph { opset: 17, weights: (0..40).map(weight).collect(), ..Graph::default() };
        let error = model(&graph, &[], &[]).expect_err("is too large");
        assert!(error.contains("allowed is a file of 1 to 2147483648"), "{error}");
    }
}
