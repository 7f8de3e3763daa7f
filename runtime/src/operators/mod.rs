//! The operators that a generator may have, and what each makes: checked before ONNX Runtime sees any of it.
//!
//! Every value is either the same for all samples, a constant, or has one part for each sample, [N, sample...]. No operator
//! may mix samples, so that an image cannot depend on its neighbours in a batch; none makes random numbers, or repeats
//! others. How large a value is, and how much work it takes, is known before it is made.

mod bytes;
mod call;
mod elementwise;
mod moves;
mod ports;
mod products;
mod reductions;
mod windows;

use crate::graph::{ElementType, Graph, MAX_RANK, Node, OWN, Text, Weight, in_file};
use crate::model::{INPUT_CLASS, ImageShape, ModelInfo, OUTPUT_IMAGE};
use crate::text::shown;
#[cfg(feature = "cli")]
pub(crate) use call::MAX_LIST;
use call::{Call, Made, volume};
use std::collections::{HashMap, HashSet};
use std::fmt;

/// Most multiplications for a sample.
const MAX_PRODUCTS: u64 = 1 << 38;
/// Most elements of a constant that is computed, unless one that it is computed from has more.
const MAX_CONSTANT: usize = 1 << 20;
/// Most elements of all constants that are computed, but for as many as the weights have.
const MAX_CONSTANTS: usize = 1 << 24;
/// Most values that nodes take and make.
const MAX_VALUES: usize = 1 << 16;
/// Channels that convolutions are computed by at a time, at most: others are made up to a multiple.
const BLOCK: usize = 16;
/// Elements that a value may always have for each sample.
const LEAST_MOST: usize = 1 << 22;
/// Channels of the image's size, or of the input image's, that a value may have for each sample.
const MOST_CHANNELS: usize = 512;
/// Most elements of a value for each sample, whatever the image.
const MOST: usize = 1 << 28;
/// Most bytes of the values that a sample has at a time.
const MAX_LIVE: u64 = 4 << 30;

/// The type of a value and its shape: of a sample, if there is one for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Typed {
    pub(crate) element: ElementType,
    pub(crate) per_sample: bool,
    pub(crate) sizes: Vec<usize>,
}

/// When a sample has the same bits as when it is computed alone by one thread: each includes those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alike {
    /// In any batch, with any number of threads, but for what `rows` says of products.
    Always,
    /// In any batch, with one thread.
    OneThread,
    /// Only alone.
    Alone,
}

impl Typed {
    /// Number of sizes, the number of samples included.
    fn rank(&self) -> usize {
        self.sizes.len() + usize::from(self.per_sample)
    }
}

impl fmt::Display for Typed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let samples = self.per_sample.then(|| "N".to_owned());
        let sizes: Vec<String> = samples.into_iter().chain(self.sizes.iter().map(usize::to_string)).collect();
        write!(f, "{} [{}]", self.element, sizes.join(", "))
    }
}

/// An operator that is known.
struct Operator {
    name: &'static str,
    /// The attributes that it may have.
    attributes: &'static [&'static str],
    /// Checks a node, and says what it makes.
    infer: fn(&Call<'_>) -> Result<Made, String>,
}

/// The version that an operator came with, if it is newer than what every file has.
const SINCE: [(&str, i64); 3] = [("Gelu", 20), ("HardSwish", 14), ("LayerNormalization", 17)];

/// The same of attributes.
const ATTRIBUTES_SINCE: [(&str, &str, i64); 5] = [
    ("BatchNormalization", "training_mode", 14),
    ("Reshape", "allowzero", 14),
    ("Resize", "antialias", 18),
    ("Resize", "keep_aspect_ratio_policy", 18),
    ("Split", "num_outputs", 18),
];

/// All of them: adding one is a function and a row in its family.
const FAMILIES: [&[Operator]; 6] =
    [bytes::ALL, elementwise::ALL, moves::ALL, products::ALL, reductions::ALL, windows::ALL];

/// What to do about an operator that is not among them.
const WITHOUT: &str = "export it with fixed sizes, for inference, without control flow and random numbers";

/// The values of a graph by their names.
#[derive(Debug, Default)]
pub(crate) struct Values(HashMap<String, Typed>);

impl Values {
    /// What the value of this name is.
    #[cfg(feature = "cli")]
    pub(crate) fn get(&self, name: &str) -> Option<&Typed> {
        self.0.get(name)
    }

    pub(crate) fn define(&mut self, name: &str, value: Typed) -> Result<(), String> {
        if name.is_empty() || name.starts_with(OWN) {
            return Err(format!("has a value of the name {}, which none may have", shown(name)));
        }
        match self.0.insert(name.to_owned(), value) {
            Some(_) => Err(format!("has two values of the name {}", shown(name))),
            None => Ok(()),
        }
    }
}

/// What is known of a graph that has been checked.
#[derive(Debug)]
pub(crate) struct Checked {
    values: Values,
    /// Bytes that a sample takes at most while it is computed.
    pub(crate) live: u64,
    /// Bytes of weights that are used more than once, for each use but one: ONNX Runtime arranges a weight for each.
    pub(crate) repeated: u64,
    /// When samples have the same bits.
    pub(crate) alike: Alike,
}

impl Checked {
    /// What the value of this name is, in the file or in single precision.
    pub(crate) fn value(&self, name: &str) -> Option<&Typed> {
        self.values.0.get(in_file(name))
    }
}

/// Checks that `graph` is a generator as `info` describes it, of operators that are known.
///
/// # Errors
/// What is not so, and what is allowed.
pub(crate) fn check(graph: &Graph<'_>, info: &ModelInfo) -> Result<Checked, String> {
    ports::check(graph, info)?;
    let count: usize = graph.nodes.iter().map(|node| node.inputs.len() + node.outputs.len()).sum();
    if count > MAX_VALUES {
        return Err(format!("has nodes that take and make {count} values, allowed are {MAX_VALUES}"));
    }
    let weights: HashMap<&str, &Weight<'_>> = graph.weights.iter().map(|w| (&*w.name, w)).collect();
    // Some tools write an empty weight for the region that a Resize has not.
    let used: HashSet<&str> = if weights.values().any(|weight| weight.shape.contains(&0)) {
        let no_region = |node: &Node<'_>, i: usize| node.op == "Resize" && i == 1;
        let inputs = graph.nodes.iter().flat_map(|node| node.inputs.iter().enumerate().map(move |input| (node, input)));
        inputs.filter(|(node, (i, _))| !no_region(node, *i)).map(|(_, (_, name))| &**name).collect()
    } else {
        HashSet::new()
    };
    let mut values = Values::default();
    for weight in &graph.weights {
        if weight.shape.contains(&0)
            && !(weight.shape == [0] && weight.element.is_float() && !used.contains(&*weight.name))
        {
            return Err(format!("has the empty weight {weight}"));
        }
        let value = Typed { element: weight.element, per_sample: false, sizes: weight.shape.clone() };
        values.define(&weight.name, value)?;
    }
    for port in &graph.inputs {
        let sizes = port.shape.iter().skip(1).map_while(|size| *size).collect();
        let element = ElementType::from_number(port.element).ok_or("has an input of an unknown type")?;
        values.define(&port.name, Typed { element, per_sample: true, sizes })?;
    }
    let pixels = |image: ImageShape| image.height * image.width;
    let most = info.image_in.map_or(0, pixels).max(pixels(info.image)).saturating_mul(MOST_CHANNELS);
    let most = most.clamp(LEAST_MOST, MOST);
    let (mut products, mut scratch, mut alike, mut constants) = (0u64, Vec::new(), Alike::Always, 0usize);
    for node in &graph.nodes {
        if let Some((op, since)) = SINCE.into_iter().find(|(op, since)| *op == node.op && graph.opset < *since) {
            return Err(format!("has {op}, which came with version {since}, and operators of version {}", graph.opset));
        }
        let newer = ATTRIBUTES_SINCE.iter().filter(|(op, _, since)| *op == node.op && graph.opset < *since);
        for (op, attribute, since) in newer {
            if node.attributes.iter().any(|found| found.name == *attribute) {
                let version = graph.opset;
                return Err(format!(
                    "has {op} with {attribute}, which came with version {since}, and operators of version {version}"
                ));
            }
        }
        let made = made_by(node, graph.opset, &values, &weights, most)?;
        products = products.saturating_add(made.products);
        scratch.push(made.scratch);
        // What is computed from constants is the same for all samples.
        if made.outputs.iter().any(|value| value.per_sample) {
            alike = alike.max(made.alike);
        }
        for (name, value) in node.outputs.iter().zip(made.outputs) {
            if !value.per_sample {
                // They are all computed, and kept, before the first sample.
                constants = constants.saturating_add(volume(&value.sizes).unwrap_or(usize::MAX));
            }
            values.define(name, value)?;
        }
    }
    classes(graph, &values, info.classes)?;
    let most = graph.weights.iter().filter_map(Weight::len).fold(MAX_CONSTANTS, usize::saturating_add);
    if constants > most {
        return Err(format!("computes constants of {constants} elements, allowed are {most}"));
    }
    if products > MAX_PRODUCTS {
        return Err(format!("takes {products} multiplications for an image, allowed are {MAX_PRODUCTS}"));
    }
    let image = values.0.get(OUTPUT_IMAGE).filter(|value| value.per_sample);
    let image = image.ok_or_else(|| format!("does not compute its output {OUTPUT_IMAGE} for each sample"))?;
    let wanted = Typed { element: info.precision.into(), per_sample: true, sizes: info.image.sizes().to_vec() };
    if *image != wanted {
        return Err(format!("makes images of {image}; by its metadata they must be of {wanted}"));
    }
    let live = live(graph, &values, &scratch);
    if live > MAX_LIVE {
        return Err(format!("takes {live} bytes of memory for an image, allowed are {MAX_LIVE}"));
    }
    Ok(Checked { values, live, repeated: repeated(graph, &weights), alike })
}

/// Checks the next node of a graph that is being written, of the operators of version `opset`, and adds what it makes to
/// `values`; `weights` are those that it takes.
///
/// # Errors
/// As [`check`], but for what only a whole graph tells.
#[cfg(feature = "cli")]
pub(crate) fn next(values: &mut Values, node: &Node<'_>, opset: i64, weights: &[&Weight<'_>]) -> Result<(), String> {
    let weights = weights.iter().map(|weight| (&*weight.name, *weight)).collect();
    let made = made_by(node, opset, values, &weights, MOST)?;
    node.outputs.iter().zip(made.outputs).try_for_each(|(name, value)| values.define(name, value))
}

/// Checks that tables whose rows are taken by the class have one for each.
fn classes(graph: &Graph<'_>, values: &Values, classes: usize) -> Result<(), String> {
    for node in graph.nodes.iter().filter(|node| node.op == "Gather" && node.inputs[1] == INPUT_CLASS) {
        let rows = values.0.get(&*node.inputs[0]).map_or(0, |table| table.sizes[0]);
        if rows < classes {
            let table = shown(&node.inputs[0]);
            return Err(format!("has {classes} classes by its metadata, and {rows} rows for them in {table}"));
        }
    }
    Ok(())
}

/// What a node makes, of at most `most` elements for each sample.
fn made_by(
    node: &Node<'_>,
    opset: i64,
    values: &Values,
    weights: &HashMap<&str, &Weight<'_>>,
    most: usize,
) -> Result<Made, String> {
    let op = shown(&node.op);
    let found = FAMILIES.into_iter().flatten().find(|operator| operator.name == node.op);
    let operator = found.ok_or_else(|| format!("has the operator {op}, which no generator may have; {WITHOUT}"))?;
    let at =
        |what: String| format!("has {op} for {}, which {what}", shown(node.outputs.first().map_or("", |name| name)));
    if let Some(attribute) = node.attributes.iter().find(|a| !operator.attributes.contains(&&*a.name)) {
        return Err(at(format!("has the attribute {}, which is not known of it", shown(&attribute.name))));
    }
    let call = Call::new(node, opset, values, weights).map_err(at)?;
    let made = (operator.infer)(&call).map_err(at)?;
    if made.outputs.len() != node.outputs.len() {
        return Err(at(format!("gives {} values and not {}", made.outputs.len(), node.outputs.len())));
    }
    let largest = call.largest_constant().max(MAX_CONSTANT);
    for value in &made.outputs {
        let most = if value.per_sample { most } else { largest };
        if volume(&value.sizes).is_none_or(|len| len == 0 || len > most) {
            return Err(at(format!("makes {value}, allowed are 1 to {most} elements")));
        }
        if value.rank() > MAX_RANK {
            return Err(at(format!("makes {value}, allowed are {MAX_RANK} sizes")));
        }
    }
    Ok(made)
}

/// The most bytes that the values of one sample take at a time, and `scratch` beside them, elements for each node.
fn live(graph: &Graph<'_>, values: &Values, scratch: &[u64]) -> u64 {
    let is_blocked = graph.nodes.iter().any(|node| node.op == "Conv");
    let bytes = |name: &str| match values.0.get(name) {
        Some(value) => {
            let rest = match value.sizes[..] {
                [channels, height, width] if is_blocked => {
                    channels.next_multiple_of(BLOCK).saturating_mul(height).saturating_mul(width)
                }
                _ => volume(&value.sizes).unwrap_or(0),
            };
            // Half precision is computed in single precision.
            let size = if value.element == ElementType::F16 { ElementType::F32 } else { value.element }.size();
            rest as u64 * size as u64
        }
        None => 0,
    };
    let mut last = HashMap::new();
    for (i, node) in graph.nodes.iter().enumerate() {
        last.extend(node.inputs.iter().chain(&node.outputs).map(|name| (&**name, i)));
    }
    let weights: HashSet<&str> = graph.weights.iter().map(|weight| &*weight.name).collect();
    let (mut now, mut most) = (graph.inputs.iter().map(|port| bytes(&port.name)).sum::<u64>(), 0u64);
    for (i, (node, scratch)) in graph.nodes.iter().zip(scratch).enumerate() {
        now = node.outputs.iter().fold(now, |sum, name| sum.saturating_add(bytes(name)));
        most = most.max(now.saturating_add(scratch.saturating_mul(4)));
        let mut ends: Vec<&str> = node.inputs.iter().chain(&node.outputs).map(|name| &**name).collect();
        ends.sort_unstable();
        ends.dedup();
        let ends = ends.into_iter().filter(|name| last.get(name) == Some(&i) && !weights.contains(name));
        now = ends.filter(|name| *name != OUTPUT_IMAGE).fold(now, |sum, name| sum.saturating_sub(bytes(name)));
    }
    most
}

/// Bytes of weights in single precision, for each use but the first.
fn repeated(graph: &Graph<'_>, weights: &HashMap<&str, &Weight<'_>>) -> u64 {
    let mut seen = HashSet::new();
    let uses = graph.nodes.iter().flat_map(|node| &node.inputs).filter(|name| !seen.insert(&***name));
    let len = |name: &Text<'_>| weights.get(&**name).and_then(|weight| weight.len()).unwrap_or(0) as u64;
    uses.map(len).fold(0u64, |sum, len| sum.saturating_add(len.saturating_mul(4)))
}

#[cfg(test)]
mod tests;
