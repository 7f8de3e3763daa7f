//! A generator's graph as this crate knows it: read from a file by its own reader, checked operator by operator, and given
//! to ONNX Runtime piece by piece. ONNX Runtime never sees the file.
//!
//! Of a hostile file nothing gets past this: what is not understood is refused ([`read`]), what an operator makes is known
//! before it is made ([`check`](crate::operators)), and no other file is opened in the graph's name.

pub(crate) mod build;
pub(crate) mod fields;
mod read;
mod weight;
mod widen;

pub(crate) use fields::type_name;
#[cfg(feature = "cli")]
pub(crate) use read::OPSETS;
pub(crate) use read::{mentions, read};
pub(crate) use weight::{Data, ElementType, Weight};
pub(crate) use widen::{Wide, in_file, widened};

use std::borrow::Cow;

/// Names and texts: of the file, or of our own.
pub(crate) type Text<'a> = Cow<'a, str>;

/// How the names of values begin that are not of the file, where no name may begin so.
pub(crate) const OWN: &str = "kiln:";
/// Most nodes of a graph.
pub(crate) const MAX_NODES: usize = 4096;
/// Most initialisers of a graph.
pub(crate) const MAX_WEIGHTS: usize = 4096;
/// Most sizes of a shape.
pub(crate) const MAX_RANK: usize = 8;

/// A model: what its file says of itself, and the graph.
#[derive(Debug)]
pub(crate) struct Model<'a> {
    pub(crate) metadata: Vec<(&'a str, &'a str)>,
    pub(crate) graph: Graph<'a>,
}

impl Model<'_> {
    /// The keys of the metadata.
    pub(crate) fn keys(&self) -> impl Iterator<Item = &str> {
        self.metadata.iter().map(|(key, _)| *key)
    }

    /// A value of the metadata.
    pub(crate) fn metadata(&self, key: &str) -> Option<String> {
        self.metadata.iter().find(|(name, _)| *name == key).map(|(_, value)| (*value).to_owned())
    }
}

/// Nodes and what they take.
#[derive(Clone, Debug, Default)]
pub(crate) struct Graph<'a> {
    /// Version of the standard operators.
    pub(crate) opset: i64,
    pub(crate) inputs: Vec<Port<'a>>,
    pub(crate) outputs: Vec<Port<'a>>,
    pub(crate) weights: Vec<Weight<'a>>,
    pub(crate) nodes: Vec<Node<'a>>,
}

impl<'a> Graph<'a> {
    pub(crate) fn weight(&self, name: &str) -> Option<&Weight<'a>> {
        self.weights.iter().find(|weight| weight.name == name)
    }
}

/// An input or output of a graph.
#[derive(Clone, Debug)]
pub(crate) struct Port<'a> {
    pub(crate) name: Text<'a>,
    /// Number of the element type in ONNX, which may be one that is not known here.
    pub(crate) element: u64,
    /// `None` is a size that the file leaves open: the number of samples.
    pub(crate) shape: Vec<Option<usize>>,
}

/// An operator at work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Node<'a> {
    pub(crate) op: Text<'a>,
    /// An empty name is an optional input that is left out.
    pub(crate) inputs: Vec<Text<'a>>,
    pub(crate) outputs: Vec<Text<'a>>,
    pub(crate) attributes: Vec<Attribute<'a>>,
}

/// A setting of an operator.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Attribute<'a> {
    pub(crate) name: Text<'a>,
    pub(crate) value: Setting<'a>,
}

/// The value of an [`Attribute`].
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Setting<'a> {
    Float(f32),
    Int(i64),
    Text(Text<'a>),
    Ints(Vec<i64>),
}

impl<'a> Node<'a> {
    /// A node of our own.
    pub(crate) fn new(op: &'static str, inputs: Vec<Text<'a>>, output: Text<'a>) -> Self {
        Self { op: op.into(), inputs, outputs: vec![output], attributes: Vec::new() }
    }

    pub(crate) fn with(mut self, name: &'static str, value: Setting<'a>) -> Self {
        self.attributes.push(Attribute { name: name.into(), value });
        self
    }

    /// The value of an attribute, if it is there.
    pub(crate) fn attribute(&self, name: &str) -> Option<&Setting<'a>> {
        self.attributes.iter().find(|attribute| attribute.name == name).map(|attribute| &attribute.value)
    }

    /// An integer attribute, if it is there.
    pub(crate) fn int(&self, name: &str) -> Option<i64> {
        match self.attribute(name) {
            Some(Setting::Int(n)) => Some(*n),
            _ => None,
        }
    }

    /// An attribute that is a list of integers, if it is there.
    pub(crate) fn ints(&self, name: &str) -> Option<&[i64]> {
        match self.attribute(name) {
            Some(Setting::Ints(numbers)) => Some(numbers),
            _ => None,
        }
    }
}
