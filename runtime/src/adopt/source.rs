//! Reads what another tool exported: more kinds of tensors, settings and versions than a generator file may have, and no
//! more trust. What is read here is translated, node by node, to what a generator file may have.

use super::fields::{floats_of, port};
use super::tensor::{Kind, Tensor, volume};
use crate::graph::fields::{entry, opset_of, put, text, unknown};
use crate::graph::{MAX_NODES, MAX_RANK, MAX_WEIGHTS};
use crate::text::shown;
use crate::weights::{Bytes, beside, check_is_no_pointer, map};
use crate::wire::{Field, Payload, fields, numbers};
use half::f16;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

/// Versions of the standard operators that can be translated.
const OPSETS: std::ops::RangeInclusive<i64> = 7..=25;
/// Most nodes, of which many compute sizes and are gone afterwards.
const MOST_NODES: usize = 4 * MAX_NODES;
/// Most constants, of which many are sizes.
const MOST_CONSTANTS: usize = 4 * MAX_WEIGHTS;
/// Most numbers of a list that is a setting.
const MOST_INTS: usize = 1 << 10;
/// Most elements of a tensor that are given as numbers, not as bytes.
const MOST_NUMBERS: usize = 1 << 24;
/// Most names of a node.
const MOST_NAMES: usize = 256;

/// A model as its file has it.
#[derive(Debug, Default)]
pub(super) struct Source<'a> {
    /// The tool that wrote it, as it says.
    pub(super) producer: String,
    pub(super) opset: i64,
    pub(super) inputs: Vec<Port<'a>>,
    pub(super) outputs: Vec<Port<'a>>,
    pub(super) constants: HashMap<&'a str, Tensor<'a>>,
    pub(super) nodes: Vec<Node<'a>>,
    /// The fields of the model that say nothing of what is computed, as they are: field number and content.
    pub(super) remarks: Vec<(u32, Payload<'a>)>,
    /// Files beside it that have weights.
    pub(super) files: Vec<&'a str>,
}

/// An input or output.
#[derive(Debug)]
pub(super) struct Port<'a> {
    pub(super) name: &'a str,
    /// Number of the element type in ONNX.
    pub(super) element: u64,
    /// `None` is a size that the file leaves open.
    pub(super) shape: Vec<Option<usize>>,
}

/// An operator at work.
#[derive(Clone, Debug, Default)]
pub(super) struct Node<'a> {
    pub(super) op: &'a str,
    pub(super) domain: &'a str,
    /// An empty name is an optional input that is left out.
    pub(super) inputs: Vec<&'a str>,
    pub(super) outputs: Vec<&'a str>,
    pub(super) settings: Vec<(&'a str, Setting<'a>)>,
}

/// A setting of an operator.
#[derive(Clone, Debug)]
pub(super) enum Setting<'a> {
    Float(f32),
    Int(i64),
    Text(&'a str),
    Tensor(Tensor<'a>),
    Floats(Vec<f32>),
    Ints(Vec<i64>),
    /// A graph, or what else no generator has.
    Foreign,
}

/// The weights that lie in other files, mapped, by the files' names.
pub(super) type Beside = HashMap<String, Arc<Bytes>>;

/// Maps the files beside the model at `path` that it has weights in.
pub(super) fn files_beside(path: &Path, model: &[u8]) -> Result<Beside, String> {
    let mut found = Beside::new();
    let names = Source::read(model, None)?.files;
    for name in names {
        if !found.contains_key(name) {
            let file = beside(path, name)?;
            found.insert(
                name.into(),
                map(&file).map_err(|fault| format!("has weights in {}, which {}", shown(name), fault.what))?,
            );
        }
    }
    Ok(found)
}

impl<'a> Source<'a> {
    /// The model in `bytes`, with weights of the files `beside` it; with `None`, only names of such files count.
    ///
    /// # Errors
    /// Bytes that are no model, and what no generator can have.
    pub(super) fn read(bytes: &'a [u8], beside: Option<&'a Beside>) -> Result<Self, String> {
        check_is_no_pointer(bytes)?;
        let (mut source, mut graph, mut opset, mut tool) = (Self::default(), None, None, ["", ""]);
        for field in fields(bytes) {
            let field = field?;
            let Field { number, value } = field;
            match (number, value) {
                (1, _) => (),
                (7, Payload::Bytes(message)) if graph.is_none() => graph = Some(message),
                (7, Payload::Bytes(_)) => return Err("has two graphs".into()),
                (8, Payload::Bytes(message)) => {
                    let (domain, version) = opset_of(message)?;
                    // Exporters list domains that no node is of.
                    if is_standard(domain) && opset.replace(version).is_some() {
                        return Err("names the standard operators' version twice".into());
                    }
                }
                (20, _) => return Err("has instructions for training; export it for inference".into()),
                (25, _) => {
                    return Err("has functions of its own: write their operators out, in PyTorch with \
                                `onnx.inliner.inline_local_functions`"
                        .into());
                }
                (2 | 3, Payload::Bytes(name)) => {
                    tool[number as usize - 2] = text(name)?;
                    source.remarks.push((number, value));
                }
                (4..=6 | 14, _) => source.remarks.push((number, value)),
                _ => return Err(unknown("a model", field).into()),
            }
        }
        source.producer = tool.join(" ").trim().to_owned();
        source.opset = opset.ok_or("does not say which version of the standard operators it has")?;
        if !OPSETS.contains(&source.opset) {
            let (least, most, opset) = (OPSETS.start(), OPSETS.end(), source.opset);
            return Err(format!(
                "has version {opset} of the standard operators, {least} to {most} can be adopted; export it with opset 17"
            ));
        }
        source.graph(graph.ok_or("is no ONNX file: it has no graph")?, beside)?;
        Ok(source)
    }

    fn graph(&mut self, message: &'a [u8], beside: Option<&'a Beside>) -> Result<(), String> {
        for field in fields(message) {
            let field = field?;
            let Field { number, value } = field;
            match (number, value) {
                (1, Payload::Bytes(message)) => {
                    let node = self.node(message, beside)?;
                    match (node.op, &node.outputs[..]) {
                        ("Constant", [name]) => {
                            let tensor = super::fold::constant(&node)?;
                            self.constant(name, tensor)?;
                        }
                        _ => put(&mut self.nodes, node, MOST_NODES, "nodes")?,
                    }
                }
                (5, Payload::Bytes(message)) => {
                    let (name, tensor) = self.tensor(message, beside)?;
                    self.constant(name, tensor)?;
                }
                // Name and comment; shapes of values in between, which are found out anew; remarks.
                (2 | 10 | 13 | 14 | 16, Payload::Bytes(_)) => (),
                (11, Payload::Bytes(message)) => put(&mut self.inputs, port(message)?, MOST_CONSTANTS, "inputs")?,
                (12, Payload::Bytes(message)) => put(&mut self.outputs, port(message)?, MOST_NAMES, "outputs")?,
                (15, _) => return Err("has sparse weights; export it with dense ones".into()),
                _ => return Err(unknown("a graph", field).into()),
            }
        }
        // Files of old list what has a value of its own among the inputs, too.
        let constants = &self.constants;
        self.inputs.retain(|port| !constants.contains_key(port.name));
        Ok(())
    }

    fn constant(&mut self, name: &'a str, tensor: Tensor<'a>) -> Result<(), String> {
        if self.constants.insert(name, tensor).is_some() {
            return Err(format!("has two constants of the name {}", shown(name)));
        }
        match self.constants.len() <= MOST_CONSTANTS {
            true => Ok(()),
            false => Err(format!("has more than {MOST_CONSTANTS} constants")),
        }
    }

    fn node(&mut self, message: &'a [u8], beside: Option<&'a Beside>) -> Result<Node<'a>, String> {
        let mut node = Node::default();
        for field in fields(message) {
            let field = field?;
            let Field { number, value } = field;
            match (number, value) {
                (1, Payload::Bytes(name)) => put(&mut node.inputs, text(name)?, MOST_NAMES, "inputs of a node")?,
                (2, Payload::Bytes(name)) => put(&mut node.outputs, text(name)?, MOST_NAMES, "outputs of a node")?,
                (4, Payload::Bytes(name)) => node.op = text(name)?,
                (5, Payload::Bytes(message)) => {
                    let setting = self.setting(message, beside)?;
                    put(&mut node.settings, setting, MOST_NAMES, "settings of a node")?;
                }
                (7, Payload::Bytes(domain)) => node.domain = text(domain)?,
                // Its name, its comment, remarks, and which overload it is.
                (3 | 6 | 8..=10, _) => (),
                _ => return Err(unknown("a node", field).into()),
            }
        }
        // None leaves out what is last for another reason than that it has no value.
        while node.inputs.last().is_some_and(|name| name.is_empty()) {
            node.inputs.pop();
        }
        Ok(node)
    }

    fn setting(&mut self, message: &'a [u8], beside: Option<&'a Beside>) -> Result<(&'a str, Setting<'a>), String> {
        let (mut name, mut kind, mut ints, mut floats) = ("", 0, Vec::new(), Vec::new());
        let (mut float, mut int, mut string, mut value) = (0f32, 0, "", None);
        for field in fields(message) {
            let field = field?;
            match (field.number, field.value) {
                (1, Payload::Bytes(bytes)) => name = text(bytes)?,
                (2, Payload::Fixed32(bits)) => float = f32::from_bits(bits),
                (3, Payload::Varint(n)) => int = n as i64,
                // What is no text is no word that an operator knows.
                (4, Payload::Bytes(bytes)) => string = text(bytes).unwrap_or_default(),
                (5, Payload::Bytes(message)) => value = Some(message),
                (7, value) => floats_of(value, MOST_INTS, &mut floats)?,
                (8, value) => numbers(value, MOST_INTS, &mut ints)?,
                (20, Payload::Varint(n)) => kind = n,
                _ => (),
            }
        }
        let setting = match (kind, value) {
            (1, _) => Setting::Float(float),
            (2, _) => Setting::Int(int),
            (3, _) => Setting::Text(string),
            (4, Some(message)) => Setting::Tensor(self.tensor(message, beside)?.1),
            (6, _) => Setting::Floats(floats),
            (7, _) => Setting::Ints(ints),
            _ => Setting::Foreign,
        };
        Ok((name, setting))
    }

    fn tensor(&mut self, message: &'a [u8], beside: Option<&'a Beside>) -> Result<(&'a str, Tensor<'a>), String> {
        let (mut name, mut number, mut dims, mut raw) = ("", 0, Vec::new(), None);
        let (mut singles, mut doubles, mut words, mut longs) = (Vec::new(), None, Vec::new(), Vec::new());
        let (mut place, mut is_outside) = (HashMap::new(), false);
        for field in fields(message) {
            let field = field?;
            match (field.number, field.value) {
                (1, value) => numbers(value, MAX_RANK, &mut dims)?,
                (2, Payload::Varint(n)) => number = n,
                (4, value) => floats_of(value, MOST_NUMBERS, &mut singles)?,
                (5, value) => numbers(value, MOST_NUMBERS, &mut words)?,
                (7, value) => numbers(value, MOST_NUMBERS, &mut longs)?,
                (8, Payload::Bytes(bytes)) => name = text(bytes)?,
                (9, Payload::Bytes(bytes)) => raw = Some(bytes),
                (10, Payload::Bytes(bytes)) => doubles = Some(bytes),
                (12 | 16, Payload::Bytes(_)) => (),
                (13, Payload::Bytes(message)) => place.extend([entry(message)?]),
                (14, Payload::Varint(n @ 0..=1)) => is_outside = n == 1,
                _ => return Err(unknown("a tensor", field).into()),
            }
        }
        let what = format!("has the tensor {}", shown(name));
        let kind = Kind::from_number(number)
            .ok_or_else(|| format!("{what} of type {}; export it in f32 or f16", crate::graph::type_name(number)))?;
        let shape = dims.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>();
        let len = shape.as_deref().and_then(volume).and_then(|len| len.checked_mul(kind.size()));
        let (Some(shape), Some(len)) = (shape, len) else {
            return Err(format!("{what} of the impossible shape {dims:?}"));
        };
        let data = if is_outside {
            let file = *place.get("location").ok_or_else(|| format!("{what} in a file that is not named"))?;
            if !self.files.contains(&file) {
                put(&mut self.files, file, MOST_NAMES, "files with weights")?;
            }
            let number = |key: &str| place.get(key).map_or(Ok(None), |n| n.parse::<usize>().map(Some));
            let (from, length) = (number("offset"), number("length"));
            let (Ok(from), Ok(length)) = (from, length) else { return Err(format!("{what} at no place of a file")) };
            let from = from.unwrap_or(0);
            let Some(beside) = beside else { return Ok((name, Tensor { kind, shape, data: Vec::new().into() })) };
            let bytes = beside.get(file).and_then(|file| file.get(from..from.checked_add(length.unwrap_or(len))?));
            bytes.ok_or_else(|| format!("{what} outside the file {}: it is cut off", shown(file)))?.into()
        } else if let Some(raw) = raw {
            raw.into()
        } else {
            match kind {
                Kind::F32 => singles.iter().flat_map(|x: &f32| x.to_le_bytes()).collect::<Vec<_>>().into(),
                Kind::F64 => doubles.unwrap_or_default().into(),
                // Written as the number that its bits are.
                Kind::F16 => {
                    words.iter().flat_map(|&n| f16::from_bits(n as u16).to_le_bytes()).collect::<Vec<_>>().into()
                }
                Kind::I64 => Tensor::of_ints(&shape, &longs).data,
                _ => Tensor::from_ints(kind, &shape, &words).data,
            }
        };
        let tensor = Tensor { kind, shape, data };
        match tensor.data.len() == len {
            true => Ok((name, tensor)),
            false => Err(format!("{what}, {tensor}, with {} bytes, which takes {len}", tensor.data.len())),
        }
    }
}

impl<'a> Node<'a> {
    pub(super) fn setting(&self, name: &str) -> Option<&Setting<'a>> {
        self.settings.iter().find(|(own, _)| *own == name).map(|(_, setting)| setting)
    }

    pub(super) fn int(&self, name: &str) -> Option<i64> {
        match self.setting(name) {
            Some(Setting::Int(n)) => Some(*n),
            _ => None,
        }
    }

    pub(super) fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.setting(name) {
            Some(Setting::Ints(all)) => Some(all),
            _ => None,
        }
    }

    pub(super) fn text(&self, name: &str) -> Option<&'a str> {
        match self.setting(name) {
            Some(Setting::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// What messages call it.
    pub(super) fn place(&self) -> String {
        format!("{} for {}", shown(self.op), shown(self.outputs.first().unwrap_or(&"")))
    }
}

/// Whether operators of a domain are the standard ones.
pub(super) fn is_standard(domain: &str) -> bool {
    ["", "ai.onnx"].contains(&domain)
}
