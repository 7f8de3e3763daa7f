//! A model file taken apart into its graph and its weights, and put together again around the place where weights lie.
//!
//! ONNX Runtime never gets the file itself: it gets the graph, in which each weight of some size is named by its offset in a
//! file that it maps: the model file, or a safetensors file beside it. Nothing is copied, no other file is opened in the
//! graph's name, and the weights of another file can be put under the same graph.
//!
//! Field numbers are those of `onnx.proto` (<https://github.com/onnx/onnx>).

use crate::wire::{self, Value, fields, put_bytes, put_number};
use std::fmt;

/// Weights of fewer bytes stay in the graph: nothing is saved by mapping them.
const LEAST_MAPPED: usize = 256;
/// How deep messages may lie in one another.
const MAX_DEPTH: usize = 32;
/// Most initialisers of a graph.
const MAX_INITIALIZERS: usize = 4096;

/// Element types of weights, with their number in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Element {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    I32 = 6,
    I64 = 7,
    F16 = 10,
    Bf16 = 16,
}

impl Element {
    fn from_number(number: u64) -> Option<Self> {
        use Element::*;
        [F32, U8, I8, I32, I64, F16, Bf16].into_iter().find(|e| *e as u64 == number)
    }

    /// Bytes of one element.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F16 | Self::Bf16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }
}

/// An initialiser of the graph whose elements are given as bytes, here or outside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Weight<'a> {
    pub(crate) name: &'a str,
    pub(crate) element: Element,
    pub(crate) shape: Vec<usize>,
    pub(crate) place: Place<'a>,
}

/// Where the elements of a weight are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    /// In the model file.
    Inside(&'a [u8]),
    /// In the file of this name; where in it, the weight's name says.
    Outside(&'a str),
}

impl fmt::Display for Weight<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({:?} {:?})", self.name, self.element, self.shape)
    }
}

impl Weight<'_> {
    /// Bytes of all elements.
    pub(crate) fn bytes(&self) -> Option<usize> {
        self.shape.iter().try_fold(self.element.size(), |product, &n| product.checked_mul(n))
    }
}

/// The elements of a weight: where they begin in a file, and what they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Data<'a> {
    pub(crate) offset: usize,
    pub(crate) bytes: &'a [u8],
}

/// The weights of `model`, in its order.
///
/// # Errors
/// Bytes that are no model; tensors outside the file anywhere but among the initialisers.
pub(crate) fn weights(model: &[u8]) -> Result<Vec<Weight<'_>>, String> {
    forbid_outside(model, Kind::Model, MAX_DEPTH)?;
    let mut all = Vec::new();
    for field in fields(graph(model)?) {
        let field = field?;
        if let (5, Value::Bytes(tensor)) = (field.number, field.value) {
            all.extend(weight(tensor)?);
            if all.len() > MAX_INITIALIZERS {
                return Err(format!("has more than {MAX_INITIALIZERS} initialisers"));
            }
        }
    }
    Ok(all)
}

/// `model` with its weights in `file`, if one is named; `data` gives the elements of each. What is small, or lies where no
/// element of its type may lie, is put into the model.
///
/// # Errors
/// What [`weights`] refuses, what `data` refuses, and data that is not as long as the weight's shape says.
pub(crate) fn with_weights<'a>(
    model: &'a [u8],
    file: Option<&str>,
    mut data: impl FnMut(&Weight<'a>) -> Result<Data<'a>, String>,
) -> Result<Vec<u8>, String> {
    replace_graph(model, |graph, out| {
        for field in fields(graph) {
            let field = field?;
            let weight = match (field.number, field.value) {
                (5, Value::Bytes(tensor)) => weight(tensor)?,
                _ => None,
            };
            let Some(weight) = weight else {
                out.extend_from_slice(field.raw);
                continue;
            };
            let data = data(&weight)?;
            if weight.bytes() != Some(data.bytes.len()) {
                return Err(format!("weight {weight} has {} bytes", data.bytes.len()));
            }
            // ONNX Runtime maps whole pages, so that a multiple in the file is one in memory.
            let mapped = data.bytes.len() >= LEAST_MAPPED && data.offset.is_multiple_of(weight.element.size());
            match file.filter(|_| mapped) {
                Some(file) => put_reference(out, &weight, file, data),
                None => put_tensor(out, weight.name, weight.element, &weight.shape, data.bytes),
            }
        }
        Ok(())
    })
}

/// `model` with what `write` makes of its graph.
///
/// # Errors
/// Bytes that are no model, and those of `write`.
pub(crate) fn replace_graph<'a>(
    model: &'a [u8],
    write: impl FnOnce(&'a [u8], &mut Vec<u8>) -> Result<(), String>,
) -> Result<Vec<u8>, String> {
    let graph = graph(model)?;
    let mut out = Vec::with_capacity(model.len());
    for field in fields(model) {
        let field = field?;
        if field.number != 7 {
            out.extend_from_slice(field.raw);
        }
    }
    let whole = wire::begin(&mut out, 7);
    write(graph, &mut out)?;
    wire::end(&mut out, whole);
    Ok(out)
}

/// The one graph of a model.
pub(crate) fn graph(model: &[u8]) -> Result<&[u8], String> {
    let mut found = None;
    for field in fields(model) {
        let field = field?;
        if let (7, Value::Bytes(graph)) = (field.number, field.value)
            && found.replace(graph).is_some()
        {
            return Err("has two graphs".into());
        }
    }
    found.ok_or_else(|| "is no ONNX file: it has no graph".into())
}

/// Reads a TensorProto; `None` if its elements are given in another way than as bytes, or are none of a weight's.
pub(crate) fn weight(tensor: &[u8]) -> Result<Option<Weight<'_>>, String> {
    let (mut name, mut element, mut dims) = ("", 0, Vec::new());
    let (mut inside, mut outside, mut is_outside) = (None, None, false);
    for field in fields(tensor) {
        let field = field?;
        match (field.number, field.value) {
            (1, value) => wire::numbers(value, &mut dims)?,
            (2, Value::Varint(n)) => element = n,
            (8, Value::Bytes(text)) => {
                name = std::str::from_utf8(text).map_err(|_| "has a tensor without a readable name")?
            }
            (9, Value::Bytes(bytes)) => inside = Some(bytes),
            (13, Value::Bytes(entry)) => {
                if let ("location", file) = entry_of(entry)? {
                    outside = Some(file);
                }
            }
            (14, Value::Varint(n)) => is_outside = n != 0,
            _ => (),
        }
    }
    let place = match (is_outside, inside, outside) {
        (true, _, Some(file)) => Place::Outside(file),
        (true, _, None) => return Err(format!("weight {name:?} is in another file, which is not named")),
        (false, Some(bytes), _) => Place::Inside(bytes),
        (false, None, _) => return Ok(None),
    };
    let Some(element) = Element::from_number(element) else {
        return match place {
            Place::Inside(_) => Ok(None),
            Place::Outside(_) => Err(format!("weight {name:?} in another file has an element type that none may have")),
        };
    };
    let shape = dims.iter().map(|&n| usize::try_from(n).ok().filter(|&n| n <= i64::MAX as usize));
    let shape = shape.collect::<Option<Vec<_>>>().ok_or_else(|| format!("weight {name:?} has a negative size"))?;
    let weight = Weight { name, element, shape, place };
    if weight.bytes().is_none() {
        return Err(format!("weight {name:?} has the impossible shape {:?}", weight.shape));
    }
    Ok(Some(weight))
}

fn entry_of(entry: &[u8]) -> Result<(&str, &str), String> {
    let (mut key, mut value) = ("", "");
    for field in fields(entry) {
        let field = field?;
        if let Value::Bytes(text) = field.value {
            let text = std::str::from_utf8(text).map_err(|_| "has an unreadable reference to another file")?;
            match field.number {
                1 => key = text,
                2 => value = text,
                _ => (),
            }
        }
    }
    Ok((key, value))
}

/// Writes an initialiser.
pub(crate) fn put_tensor(out: &mut Vec<u8>, name: &str, element: Element, shape: &[usize], data: &[u8]) {
    let tensor = wire::begin(out, 5);
    put_description(out, name, element, shape);
    put_bytes(out, 9, data);
    wire::end(out, tensor);
}

/// Writes an initialiser whose elements are in `file`.
fn put_reference(out: &mut Vec<u8>, weight: &Weight<'_>, file: &str, data: Data<'_>) {
    let tensor = wire::begin(out, 5);
    put_description(out, weight.name, weight.element, &weight.shape);
    let (offset, length) = (data.offset.to_string(), data.bytes.len().to_string());
    for (key, value) in [("location", file), ("offset", &offset), ("length", &length)] {
        let entry = wire::begin(out, 13);
        put_bytes(out, 1, key.as_bytes());
        put_bytes(out, 2, value.as_bytes());
        wire::end(out, entry);
    }
    put_number(out, 14, 1);
    wire::end(out, tensor);
}

fn put_description(out: &mut Vec<u8>, name: &str, element: Element, shape: &[usize]) {
    shape.iter().for_each(|&n| put_number(out, 1, n as u64));
    put_number(out, 2, element as u64);
    put_bytes(out, 8, name.as_bytes());
}

/// The messages that tensors can lie in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Model,
    Graph,
    Node,
    Attribute,
    Sparse,
    Function,
    Training,
    Tensor,
}

/// Refuses tensors outside the file, except for the initialisers of the outermost graph: nothing else of a generator is
/// large, and what is never read cannot be used to read the files of others.
fn forbid_outside(message: &[u8], kind: Kind, depth: usize) -> Result<(), String> {
    let inner = |number| match (kind, number) {
        (Kind::Model, 7) | (Kind::Training, 1 | 2) | (Kind::Attribute, 6 | 11) => Some(Kind::Graph),
        (Kind::Model, 20) => Some(Kind::Training),
        (Kind::Model, 25) => Some(Kind::Function),
        (Kind::Graph, 1) | (Kind::Function, 7) => Some(Kind::Node),
        // The outermost graph is one step below the model.
        (Kind::Graph, 5) if depth + 1 < MAX_DEPTH => Some(Kind::Tensor),
        (Kind::Graph, 15) | (Kind::Attribute, 22 | 23) => Some(Kind::Sparse),
        (Kind::Node, 5) | (Kind::Function, 11) => Some(Kind::Attribute),
        (Kind::Attribute, 5 | 10) | (Kind::Sparse, 1 | 2) => Some(Kind::Tensor),
        _ => None,
    };
    for field in fields(message) {
        let field = field?;
        match (inner(field.number), field.value) {
            (Some(_), _) if depth == 0 => return Err(format!("has messages more than {MAX_DEPTH} deep")),
            (Some(kind), Value::Bytes(message)) => forbid_outside(message, kind, depth - 1)?,
            _ if kind == Kind::Tensor && matches!(field.number, 13 | 14) && field.value != Value::Varint(0) => {
                return Err("has a tensor in another file that is no initialiser of its graph".into());
            }
            _ => (),
        }
    }
    Ok(())
}
