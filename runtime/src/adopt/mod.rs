//! Generators that other tools exported, made generator files: `sample adopt`.
//!
//! The foreign file is read by a reader of its own (`source`), which trusts it no more than the other one does. What its
//! inputs and outputs are is told by their types, shapes and names, or asked for (`ports`). Its graph is translated node by
//! node (`translate`) to what a generator file may have; before and after come what Kiln's latents, classes and images need
//! (`ends`). The result is opened as every generator file is, so that all that is promised of these holds for it, drawn
//! from, and looked at (`trial`).

mod arithmetic;
mod each;
mod ends;
mod fields;
mod fold;
mod known;
mod lower;
mod ports;
mod range;
mod shapes;
mod source;
mod tensor;
#[cfg(test)]
mod tests;
mod translate;
mod trial;
mod windows;
mod write;

use crate::error::{Fault, Result};
use crate::graph::Graph;
use crate::model::{ImageShape, ModelInfo, OUTPUT_IMAGE};
use crate::self_test::SelfTest;
use crate::text::{one_line, shown};
use crate::weights::map;
use source::Source;
use std::collections::HashSet;
use std::path::Path;
use translate::Translation;

/// Where the latents that a generator has learned with come from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Distribution {
    /// Standard normal numbers.
    #[default]
    Normal,
    /// Numbers between two, all equally likely.
    Uniform(f64, f64),
}

/// In which order an image has its axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// Channels, height, width.
    Nchw,
    /// Height, width, channels.
    Nhwc,
}

/// What is said of a foreign generator. What is not is found in its file, or asked for by an error.
#[derive(Clone, Debug, Default)]
pub struct Wishes {
    /// The input that is the latent.
    pub latent: Option<String>,
    /// The input that is the class.
    pub class: Option<String>,
    /// The output that is the image.
    pub image: Option<String>,
    /// What other inputs are fixed to.
    pub inputs: Vec<(String, f64)>,
    /// How many classes there are.
    pub classes: Option<usize>,
    /// Their names.
    pub class_names: Vec<String>,
    /// Between which numbers images are.
    pub range: Option<(f64, f64)>,
    /// How latents are distributed.
    pub distribution: Option<Distribution>,
    /// The shape of an image, where the output is a row of numbers.
    pub shape: Option<ImageShape>,
    /// The order of an image's axes.
    pub layout: Option<Layout>,
}

/// A generator file made of a foreign one.
#[derive(Debug)]
pub struct Adopted {
    /// What was found, what was assumed, and what was checked.
    pub report: Vec<String>,
    /// The file.
    pub bytes: Vec<u8>,
}

/// Makes a generator file of the ONNX file at `path`, which another tool exported, with the weights that it has beside it.
///
/// # Errors
/// A file that cannot be read, or that no generator file can be made of; what must be said of it; what it draws that no
/// generator may.
pub fn adopt(path: &Path, wishes: &Wishes) -> Result<Adopted> {
    let fail = |what: String| Fault::from(what).at(path);
    let file = map(path).map_err(|fault| {
        let what = fault.what.replace("`trainer --export`", "a tool for ONNX");
        Fault { what, ..fault }.at(path)
    })?;
    let beside = source::files_beside(path, &file).map_err(fail)?;
    let source = Source::read(&file, Some(&beside)).map_err(fail)?;
    if is_generator(&source).map_err(fail)? {
        return Err(fail("is a generator file already: `sample --info` tells what is in it".into()));
    }
    let mut report = vec![found(&source)];
    let (graph, info) = translated(&source, wishes, &mut report).map_err(fail)?;
    let bytes = trial::tried(&graph, info, &source.remarks, path, &mut report)?;
    Ok(Adopted { report, bytes })
}

fn is_generator(source: &Source<'_>) -> std::result::Result<bool, String> {
    let entries = source.remarks.iter().filter(|(number, _)| *number == 14);
    let keys: Vec<&str> = entries.map(|(_, value)| fields::key(*value)).collect::<std::result::Result<_, _>>()?;
    Ok(keys.iter().any(|key| key.starts_with("kiln.")))
}

fn found(source: &Source<'_>) -> String {
    let tool = if source.producer.is_empty() { "a tool that does not say its name" } else { &source.producer };
    let bytes: usize = source.constants.values().map(|tensor| tensor.data.len()).sum();
    format!(
        "found      a file of {}: {} nodes of opset {}, {:.1} MB of weights",
        one_line(tool),
        source.nodes.len(),
        source.opset,
        bytes as f64 / 1e6
    )
}

/// The new graph, and what is known of it before it has drawn anything.
fn translated<'a>(
    source: &Source<'a>,
    wishes: &Wishes,
    report: &mut Vec<String>,
) -> std::result::Result<(Graph<'a>, ModelInfo), String> {
    let ports = ports::ports(source, wishes)?;
    let needed = ports::needed(source, ports.image.name);
    let fixed = ports.latent.shape[0];
    let names =
        source.constants.keys().copied().chain(source.nodes.iter().flat_map(|node| node.outputs.iter().copied()));
    let mut to = Translation::new(source.opset, fixed, names);
    let (precision, latent_dim) = ends::begin(&mut to, &ports, wishes, report)?;
    ports.enter(&mut to)?;
    ends::tell(&ports, wishes, report);
    for (name, tensor) in source.constants.iter().filter(|(name, _)| needed.contains(*name)) {
        to.values.insert(name, translate::Value::Same(std::rc::Rc::new(tensor.clone())));
    }
    for node in source.nodes.iter().filter(|node| node.outputs.iter().any(|name| needed.contains(name))) {
        to.node(node)?;
    }
    let image = ends::end(&mut to, &ports, precision, wishes, report)?;
    let mut graph = to.graph;
    prune(&mut graph);
    let is_conditional = graph.nodes.iter().any(|node| node.inputs.iter().any(|name| name == crate::INPUT_CLASS));
    let classes = if is_conditional { to.classes } else { 0 };
    if classes == 0 {
        graph.inputs.retain(|port| port.name != crate::INPUT_CLASS);
    }
    if !wishes.class_names.is_empty() {
        // The same rule as for those of a file.
        crate::classes::read(&wishes.class_names.join("\n"), classes)
            .map_err(|e| format!("has class names, but: {e}"))?;
    }
    // Points are looked for when it has drawn something.
    let self_test = SelfTest { seed: 0, index: 0, tolerance: 2., points: vec![(0, 0.)] };
    let tool = if source.producer.is_empty() { "another tool" } else { &source.producer };
    let info = ModelInfo {
        classes,
        class_names: wishes.class_names.clone(),
        trainer: format!("{}, adopted by kiln {}", one_line(tool), env!("CARGO_PKG_VERSION")),
        ..ModelInfo::new(precision, latent_dim, image, self_test)
    };
    Ok((graph, info))
}

/// Leaves out what the image does not depend on.
fn prune(graph: &mut Graph<'_>) {
    let mut needed = HashSet::from([OUTPUT_IMAGE.to_owned()]);
    let mut nodes = std::mem::take(&mut graph.nodes);
    nodes.reverse();
    nodes.retain(|node| {
        let is_needed = node.outputs.iter().any(|name| needed.contains(&**name));
        if is_needed {
            needed.extend(node.inputs.iter().map(|name| name.clone().into_owned()));
        }
        is_needed
    });
    nodes.reverse();
    graph.nodes = nodes;
    graph.weights.retain(|weight| needed.contains(&*weight.name));
}

impl std::str::FromStr for Distribution {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text.split_once(':') {
            None if text == "normal" => Ok(Self::Normal),
            None if text == "uniform" => Ok(Self::Uniform(-1., 1.)),
            Some(("uniform", bounds)) => range_of(bounds).map(|(low, high)| Self::Uniform(low, high)),
            _ => Err(format!(
                "{} is no distribution, allowed are normal, uniform (from -1 to 1) and uniform:A..B",
                shown(text)
            )),
        }
    }
}

impl std::str::FromStr for Layout {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "nchw" => Ok(Self::Nchw),
            "nhwc" => Ok(Self::Nhwc),
            _ => Err(format!("{} is no order of axes, allowed are nchw and nhwc", shown(text))),
        }
    }
}

/// Two numbers, `A..B`.
///
/// # Errors
/// Others.
pub fn range_of(text: &str) -> std::result::Result<(f64, f64), String> {
    let both =
        text.split_once("..").and_then(|(a, b)| Some((a.trim().parse::<f64>().ok()?, b.trim().parse::<f64>().ok()?)));
    both.filter(|(a, b)| a.is_finite() && b.is_finite() && a < b && a.abs().max(b.abs()) <= 1e6 && b - a >= 1e-6)
        .ok_or_else(|| format!("{} is no range: it is written as -1..1, 0..1 or 0..255", shown(text)))
}
