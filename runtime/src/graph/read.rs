//! Reads a model from the bytes of an ONNX file: <https://github.com/onnx/onnx/blob/main/docs/IR.md>.
//!
//! Field numbers are those of `onnx.proto`. Every field is one that is read, one that says nothing of what is computed, or
//! refused.

use super::fields::{entry, opset_of, put, text, type_name, unknown};
use super::{
    Attribute, Data, ElementType, Graph, MAX_NODES, MAX_RANK, MAX_WEIGHTS, Model, Node, Port, Setting, Text, Weight,
};
use crate::error::{ErrorKind, Fault};
use crate::text::shown;
use crate::weights::check_is_no_pointer;
use crate::wire::{self, Payload, damaged, fields};
use std::borrow::Cow;

/// Versions of the standard operators that are known here.
pub(crate) const OPSETS: std::ops::RangeInclusive<i64> = 13..=22;
/// Most entries of the metadata.
const MAX_ENTRIES: usize = 1024;
/// Most inputs or outputs of a node, and of a graph.
const MAX_OF_NODE: usize = 256;
/// Most attributes of a node.
const MAX_ATTRIBUTES: usize = 32;
/// Most numbers of an attribute. They take more room in memory than in the file, as do those of the next line.
const MAX_INTS: usize = 64;
/// Most elements of a tensor that are given as numbers, not as bytes.
const MAX_NUMBERS: usize = 1024;

/// The model in `bytes`.
///
/// # Errors
/// Bytes that are no model; parts that are not known.
pub(crate) fn read(bytes: &[u8]) -> Result<Model<'_>, Fault> {
    check_is_no_pointer(bytes)?;
    model(bytes).map_err(|fault| match begins_as_model(bytes) {
        true => fault,
        false => fault.of_kind(ErrorKind::NotAModel),
    })
}

/// Whether these are the first bytes of an ONNX file, which the rest need not be: the version of the format, which is written
/// before all else, then a field that there is.
fn begins_as_model(bytes: &[u8]) -> bool {
    let Some((0x08, rest)) = bytes.split_first() else { return false };
    let Some((_, rest)) = wire::varint(rest) else { return false };
    let texts = [2, 3, 4, 6, 7, 8, 14].map(|number| number << 3 | 2);
    rest.first().is_none_or(|tag| *tag == 5 << 3 || texts.contains(tag))
}

/// Whether a file that may be refused for what is in it has metadata of this name at all.
pub(crate) fn mentions(bytes: &[u8], key: &str) -> bool {
    fields(bytes).map_while(Result::ok).any(|field| match (field.number, field.value) {
        (14, Payload::Bytes(message)) => entry(message).is_ok_and(|(name, _)| name == key),
        _ => false,
    })
}

fn model(bytes: &[u8]) -> Result<Model<'_>, Fault> {
    let (mut metadata, mut found, mut opset) = (Vec::new(), None, None);
    for field in fields(bytes) {
        let field = field?;
        match (field.number, field.value) {
            // Versions, producer, domain, comment.
            (1 | 5, Payload::Varint(_)) | (2..=4 | 6, Payload::Bytes(_)) => (),
            (7, Payload::Bytes(message)) if found.is_none() => found = Some(message),
            (7, Payload::Bytes(_)) => return Err("has two graphs".into()),
            (8, Payload::Bytes(message)) => {
                let (domain, version) = opset_of(message)?;
                if !domain.is_empty() && domain != "ai.onnx" {
                    return Err(format!(
                        "has operators of the domain {}, allowed are the standard ones",
                        shown(domain)
                    )
                    .into());
                }
                if opset.replace(version).is_some() {
                    return Err("names the standard operators' version twice".into());
                }
            }
            (14, Payload::Bytes(message)) => put(&mut metadata, entry(message)?, MAX_ENTRIES, "metadata entries")?,
            (20, _) => return Err("has instructions for training, which no generator needs".into()),
            (25, _) => return Err("has functions of its own, allowed are the standard operators".into()),
            _ => return Err(unknown("a model", field)),
        }
    }
    let graph = found.ok_or_else(|| Fault::damaged("is no ONNX file: it has no graph"))?;
    let opset = opset.ok_or("does not say which version of the standard operators it has")?;
    if !OPSETS.contains(&opset) {
        let (least, most) = (OPSETS.start(), OPSETS.end());
        return Err(format!("has version {opset} of the standard operators, allowed is {least} to {most}").into());
    }
    let mut keys = std::collections::HashSet::new();
    for (key, _) in &metadata {
        if key.starts_with("kiln.") && !keys.insert(*key) {
            return Err(format!("has metadata {} twice", shown(key)).into());
        }
    }
    Ok(Model { metadata, graph: graph_of(graph, opset)? })
}

fn graph_of(message: &[u8], opset: i64) -> Result<Graph<'_>, Fault> {
    let mut graph = Graph { opset, ..Graph::default() };
    for field in fields(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Payload::Bytes(message)) => match node(message)? {
                Read::Node(node) => put(&mut graph.nodes, node, MAX_NODES, "nodes")?,
                Read::Constant(weight) => put(&mut graph.weights, weight, MAX_WEIGHTS, "constants")?,
            },
            (5, Payload::Bytes(message)) => put(&mut graph.weights, tensor(message)?, MAX_WEIGHTS, "initialisers")?,
            // Name and comment; shapes of values in between, which are found out here; remarks.
            (2 | 10 | 13 | 16, Payload::Bytes(_)) => (),
            (11, Payload::Bytes(message)) => {
                put(&mut graph.inputs, port(message)?, MAX_OF_NODE + MAX_WEIGHTS, "inputs")?
            }
            (12, Payload::Bytes(message)) => put(&mut graph.outputs, port(message)?, MAX_OF_NODE, "outputs")?,
            (15, _) => return Err("has sparse initialisers, allowed are dense ones".into()),
            _ => return Err(unknown("a graph", field)),
        }
    }
    // Files of old list what has a value of its own among the inputs, too.
    let own: std::collections::HashSet<&str> = graph.weights.iter().map(|weight| &*weight.name).collect();
    graph.inputs.retain(|port| !own.contains(&*port.name));
    Ok(graph)
}

/// What a node is here: constants are weights.
enum Read<'a> {
    Node(Node<'a>),
    Constant(Weight<'a>),
}

fn node(message: &[u8]) -> Result<Read<'_>, Fault> {
    let (mut node, mut value) = (Node::default(), None);
    for field in fields(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Payload::Bytes(name)) => put(&mut node.inputs, text(name)?.into(), MAX_OF_NODE, "inputs of a node")?,
            (2, Payload::Bytes(name)) => put(&mut node.outputs, text(name)?.into(), MAX_OF_NODE, "outputs of a node")?,
            (4, Payload::Bytes(name)) => node.op = text(name)?.into(),
            (5, Payload::Bytes(message)) => match attribute(message)? {
                Found::Attribute(attribute) => {
                    put(&mut node.attributes, attribute, MAX_ATTRIBUTES, "attributes of a node")?
                }
                Found::Tensor(tensor) if value.is_none() => value = Some(tensor),
                Found::Tensor(_) => return Err("has a node with two tensors".into()),
                Found::Nothing => (),
            },
            // Its name, its comment and remarks.
            (3 | 6 | 9, Payload::Bytes(_)) => (),
            (7, Payload::Bytes(domain)) if [&b""[..], b"ai.onnx"].contains(&domain) => (),
            (7, Payload::Bytes(domain)) => {
                let domain = shown(&String::from_utf8_lossy(domain));
                return Err(format!("has an operator of the domain {domain}, allowed are the standard ones").into());
            }
            (8, Payload::Bytes([])) => (),
            _ => return Err(unknown("a node", field)),
        }
    }
    for (i, attribute) in node.attributes.iter().enumerate() {
        if node.attributes[..i].iter().any(|other| other.name == attribute.name) {
            return Err(format!("has {} with {} twice", shown(&node.op), shown(&attribute.name)).into());
        }
    }
    if node.op == "Constant" {
        return constant(node, value).map(Read::Constant);
    }
    match value {
        Some(_) => {
            Err(format!("has {} with a tensor as an attribute, which only Constant may have", shown(&node.op)).into())
        }
        None => Ok(Read::Node(node)),
    }
}

fn constant<'a>(node: Node<'a>, value: Option<Weight<'a>>) -> Result<Weight<'a>, Fault> {
    let wrong = || Fault::from("has a Constant that is no tensor of numbers");
    let [name] = &node.outputs[..] else { return Err(wrong()) };
    let scalar = |mut weight: Weight<'a>| {
        weight.shape.clear();
        weight
    };
    match (&node.attributes[..], value) {
        ([], Some(value)) if matches!(value.data, Data::Bytes(_)) => Ok(Weight { name: name.clone(), ..value }),
        ([], Some(_)) => Err("has a Constant in another file; allowed there are initialisers".into()),
        ([Attribute { name: kind, value: Setting::Int(n) }], None) if kind == "value_int" => {
            Ok(scalar(Weight::sizes(name.clone(), &[*n])))
        }
        ([Attribute { name: kind, value: Setting::Ints(all) }], None) if kind == "value_ints" => {
            Ok(Weight::sizes(name.clone(), all))
        }
        ([Attribute { name: kind, value: Setting::Float(x) }], None) if kind == "value_float" => {
            Ok(scalar(Weight::floats(name.clone(), ElementType::F32, &[1], &[*x])))
        }
        _ => Err(wrong()),
    }
}

/// What an attribute is here.
enum Found<'a> {
    Attribute(Attribute<'a>),
    Tensor(Weight<'a>),
    /// An empty list, which is as if it were not there.
    Nothing,
}

fn attribute(message: &[u8]) -> Result<Found<'_>, Fault> {
    let (mut name, mut kind, mut ints) = ("", 0, Vec::new());
    let (mut float, mut int, mut string, mut value) = (0f32, 0, "", None);
    for field in fields(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Payload::Bytes(bytes)) => name = text(bytes)?,
            (2, Payload::Fixed32(bits)) => float = f32::from_bits(bits),
            (3, Payload::Varint(n)) => int = n as i64,
            (4, Payload::Bytes(bytes)) => string = text(bytes)?,
            (5, Payload::Bytes(message)) => value = Some(message),
            (6 | 11, _) => return Err("has a graph within a graph: control flow is not allowed".into()),
            (7 | 9 | 10 | 14 | 15 | 22 | 23, _) => {
                return Err(format!("has the attribute {} of a type that no operator here has", shown(name)).into());
            }
            (8, numbers) => wire::numbers(numbers, MAX_INTS, &mut ints)?,
            // A comment.
            (13, Payload::Bytes(_)) => (),
            (20, Payload::Varint(n)) => kind = n,
            (21, Payload::Bytes([])) => (),
            _ => return Err(unknown("an attribute", field)),
        }
    }
    let value = match (kind, value) {
        (1, None) if float.is_finite() => Setting::Float(float),
        (1, None) => return Err(format!("has the attribute {}, which is not finite", shown(name)).into()),
        (2, None) => Setting::Int(int),
        (3, None) => Setting::Text(string.into()),
        (4, Some(message)) => return Ok(Found::Tensor(tensor(message)?)),
        (7, None) if ints.is_empty() => return Ok(Found::Nothing),
        (7, None) => Setting::Ints(ints),
        _ => return Err(format!("has the attribute {} of an unknown type", shown(name)).into()),
    };
    Ok(Found::Attribute(Attribute { name: name.into(), value }))
}

/// A tensor. Its elements are as many as its shape says, unless they are in another file.
fn tensor(message: &[u8]) -> Result<Weight<'_>, Fault> {
    let (mut name, mut number, mut dims) = ("", 0, Vec::new());
    let (mut raw, mut floats, mut shorts, mut longs) = (None, Vec::new(), Vec::new(), Vec::new());
    let (mut outside, mut is_outside, mut single) = (None, false, None);
    for field in fields(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, value) => wire::numbers(value, MAX_RANK, &mut dims)
                .map_err(|_| format!("has a tensor of more than {MAX_RANK} sizes"))?,
            (2, Payload::Varint(n)) => number = n,
            (4, Payload::Bytes(bytes)) => single = Some(bytes),
            (4, Payload::Fixed32(bits)) => put(&mut floats, f32::from_bits(bits), MAX_NUMBERS, "numbers in a tensor")?,
            (5, value) => wire::numbers(value, MAX_NUMBERS, &mut shorts)?,
            (7, value) => wire::numbers(value, MAX_NUMBERS, &mut longs)?,
            (8, Payload::Bytes(bytes)) => name = text(bytes)?,
            (9, Payload::Bytes(bytes)) => raw = Some(bytes),
            // A comment and remarks.
            (12 | 16, Payload::Bytes(_)) => (),
            (13, Payload::Bytes(message)) => {
                if let ("location", file) = entry(message)? {
                    outside = Some(file);
                }
            }
            (14, Payload::Varint(n @ 0..=1)) => is_outside = n == 1,
            _ => return Err(unknown("a tensor", field)),
        }
    }
    let what = || format!("has the tensor {}", shown(name));
    let element = ElementType::from_number(number).ok_or_else(|| {
        format!("{} of type {}, allowed are f32, f16, i64, i32, i8 and u8", what(), type_name(number))
    })?;
    let shape = dims.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>();
    let shape = shape.ok_or_else(|| format!("{} of the impossible shape {dims:?}", what()))?;
    let data = match (is_outside, outside, raw, element) {
        (true, Some(file), None, _) => Data::Outside(file),
        (true, ..) => return Err(format!("{} in another file, which is not named", what()).into()),
        (false, Some(_), ..) => return Err(format!("{} in this file and in another one", what()).into()),
        (false, None, Some(bytes), _) => Data::Bytes(bytes.into()),
        (false, None, None, ElementType::F32) if single.is_some() => Data::Bytes(single.unwrap_or_default().into()),
        (false, None, None, ElementType::F32) => own(floats.iter().map(|x: &f32| x.to_le_bytes())),
        (false, None, None, ElementType::F16) => own(shorts.iter().map(|&n| (n as u16).to_le_bytes())),
        (false, None, None, ElementType::U8 | ElementType::I8) => own(shorts.iter().map(|&n| [n as u8])),
        (false, None, None, ElementType::I32) => own(shorts.iter().map(|&n| (n as i32).to_le_bytes())),
        (false, None, None, ElementType::I64) => own(longs.iter().map(|n| n.to_le_bytes())),
    };
    let weight = Weight { name: name.into(), element, shape, data };
    let length = weight.len().map(|len| len * element.size());
    match (length, weight.bytes()) {
        (None, _) => Err(format!("{} of the impossible shape {:?}", what(), weight.shape).into()),
        (Some(length), Some(bytes)) if bytes.len() != length => {
            Err(format!("has the tensor {weight} with {} bytes, which takes {length}", bytes.len()).into())
        }
        _ => Ok(weight),
    }
}

fn own<'a, const N: usize>(elements: impl Iterator<Item = [u8; N]>) -> Data<'a> {
    Data::Bytes(Cow::Owned(elements.flatten().collect()))
}

fn port(message: &[u8]) -> Result<Port<'_>, Fault> {
    let (mut name, mut kind) = ("", None);
    for field in fields(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Payload::Bytes(bytes)) => name = text(bytes)?,
            (2, Payload::Bytes(message)) => kind = Some(message),
            (3 | 4, Payload::Bytes(_)) => (),
            _ => return Err(unknown("an input or output", field)),
        }
    }
    let (mut element, mut shape) = (0, Vec::new());
    let none = || format!("has the input or output {} without a type", shown(name));
    let tensor = only(kind.ok_or_else(none)?, 1, 6)?.ok_or_else(none)?;
    for field in fields(tensor) {
        let field = field?;
        match (field.number, field.value) {
            (1, Payload::Varint(n)) => element = n,
            (2, Payload::Bytes(message)) => {
                for field in fields(message) {
                    let field = field?;
                    let (1, Payload::Bytes(size)) = (field.number, field.value) else {
                        return Err(unknown("a shape", field));
                    };
                    put(&mut shape, size_of(size)?, MAX_RANK, "sizes in a shape")?;
                }
            }
            _ => return Err(unknown("a type", field)),
        }
    }
    Ok(Port { name: Text::Borrowed(name), element, shape })
}

/// The message in the field `number` of `message`, beside which there may be texts in the field `beside`.
fn only(message: &[u8], number: u32, beside: u32) -> Result<Option<&[u8]>, Fault> {
    let mut found = None;
    for field in fields(message) {
        let field = field?;
        match field.value {
            Payload::Bytes(inner) if field.number == number => found = Some(inner),
            Payload::Bytes(_) if field.number == beside => (),
            _ => return Err("has an input or output that is no tensor".into()),
        }
    }
    Ok(found)
}

/// A size of a shape; `None` if it is open.
fn size_of(message: &[u8]) -> Result<Option<usize>, Fault> {
    let mut size = None;
    for field in fields(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Payload::Varint(n)) => {
                size = Some(usize::try_from(n).ok().filter(|n| *n <= i64::MAX as usize).ok_or_else(damaged)?);
            }
            (2 | 3, Payload::Bytes(_)) => (),
            _ => return Err(unknown("a size", field)),
        }
    }
    Ok(size)
}
