//! Which input is the latent and which the class, which output is the image, and what the other inputs are fixed to.

use super::Wishes;
use super::fold::{MOST, expanded};
use super::source::{Port, Source};
use super::tensor::{Kind, Tensor, volume};
use super::translate::{PROBES, Translation, Value};
use crate::graph::type_name;
use crate::model::{MAX_CLASSES, MAX_LATENT_DIM};
use crate::text::shown;
use std::collections::HashSet;
use std::rc::Rc;

/// How samples are told their class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Labels {
    /// By its number, of this type.
    Number(Kind),
    /// By as many numbers as there are classes, of this type, of which the class's is 1 and the others are 0.
    OneHot(Kind),
}

/// What the inputs and outputs of a foreign graph are.
pub(super) struct Ports<'s, 'a> {
    pub(super) latent: &'s Port<'a>,
    /// The input, the kind of labels, and how many classes there are.
    pub(super) class: Option<(&'s Port<'a>, Labels, usize)>,
    /// Inputs that are fixed, and to what.
    pub(super) fixed: Vec<(&'s Port<'a>, f64)>,
    pub(super) image: &'s Port<'a>,
}

/// Ports with their types and shapes, for messages.
fn listed<'s, 'a: 's>(ports: impl IntoIterator<Item = &'s Port<'a>>) -> String {
    let all: Vec<String> = ports.into_iter().take(16).map(described).collect();
    all.join("; ")
}

/// A port with its type and shape.
pub(super) fn described(port: &Port<'_>) -> String {
    let sizes: Vec<String> = port.shape.iter().map(|n| n.map_or("N".into(), |n| n.to_string())).collect();
    format!("{} {} [{}]", shown(port.name), type_name(port.element), sizes.join(", "))
}

/// Whether a name, or a part of it, is one of these; single letters only as the whole.
fn is_called(name: &str, words: &[&str]) -> bool {
    let name = name.to_lowercase();
    words.iter().any(|word| if word.len() == 1 { name == *word } else { name.contains(word) })
}

const LATENTS: [&str; 4] = ["z", "latent", "noise", "seed"];
const CLASSES: [&str; 7] = ["y", "c", "class", "label", "cond", "onehot", "one_hot"];
const TRUNCATIONS: [&str; 2] = ["truncation", "psi"];

fn kind(port: &Port<'_>) -> Option<Kind> {
    Kind::from_number(port.element)
}

/// The sizes of a port after the number of samples, if they are known.
pub(super) fn sample_of(port: &Port<'_>) -> Option<Vec<usize>> {
    port.shape.get(1..)?.iter().copied().collect()
}

fn is_latent(port: &Port<'_>) -> bool {
    let len = sample_of(port).and_then(|sizes| volume(&sizes));
    kind(port).is_some_and(Kind::is_float)
        && port.shape.len() >= 2
        && len.is_some_and(|n| (1..=MAX_LATENT_DIM).contains(&n))
}

fn labels(port: &Port<'_>) -> Option<Labels> {
    let kind = kind(port)?;
    match port.shape[..] {
        [_] | [_, Some(1)] if matches!(kind, Kind::I32 | Kind::I64) => Some(Labels::Number(kind)),
        [_, Some(n)] if n > 1 && kind != Kind::Bool => Some(Labels::OneHot(kind)),
        _ => None,
    }
}

fn named<'s, 'a>(ports: &'s [Port<'a>], name: &str, kind: &str) -> Result<&'s Port<'a>, String> {
    let found = ports.iter().find(|port| port.name == name);
    found.ok_or_else(|| format!("has no {kind} {}; it has {}", shown(name), listed(ports)))
}

/// Tells what the ports are, by what is wished for, their types and shapes, and their names.
///
/// # Errors
/// What cannot be told, with all ports and the option that tells it.
pub(super) fn ports<'s, 'a>(source: &'s Source<'a>, wishes: &Wishes) -> Result<Ports<'s, 'a>, String> {
    let image = image(source, wishes)?;
    let is_needed = needed(source, image.name);
    for (name, _) in &wishes.inputs {
        named(&source.inputs, name, "input")?;
    }
    let given = |port: &Port<'_>| wishes.inputs.iter().find(|(name, _)| name == port.name).map(|(_, value)| *value);
    // What nothing of the image depends on may be left out.
    let open: Vec<&Port<'a>> =
        source.inputs.iter().filter(|port| given(port).is_none() && is_needed.contains(port.name)).collect();
    let wished = |name: &Option<String>| name.as_ref().map(|name| named(&source.inputs, name, "input")).transpose();
    let (latent, class) = (wished(&wishes.latent)?, wished(&wishes.class)?);
    let is_free = |port: &&&Port<'a>| {
        class.is_none_or(|class| class.name != port.name) && latent.is_none_or(|latent| latent.name != port.name)
    };
    let latent = match latent {
        Some(port) if is_latent(port) => port,
        Some(port) => {
            let what =
                format!("must be f32 or f16 [N, ...] with 1 to {MAX_LATENT_DIM} numbers of known shape for a sample");
            return Err(format!("has {}, which cannot be the latent: that {what}", described(port)));
        }
        None => {
            let all: Vec<_> = open.iter().filter(is_free).filter(|port| is_latent(port)).collect();
            let pick = |is: &dyn Fn(&str) -> bool| {
                let found: Vec<_> = all.iter().filter(|port| is(port.name)).collect();
                if let [one] = found[..] { Some(**one) } else { None }
            };
            let found = pick(&|_| true)
                .or_else(|| pick(&|name| is_called(name, &LATENTS)))
                .or_else(|| pick(&|name| !is_called(name, &CLASSES)));
            found.ok_or_else(|| {
                let inputs = listed(&source.inputs);
                format!(
                    "has the inputs {inputs}; say which one is the latent, f32 or f16 [N, ...] with 1 to {MAX_LATENT_DIM} \
                     numbers of known shape for a sample: --latent NAME; and fix others: --input NAME=VALUE"
                )
            })?
        }
    };
    let class = match class {
        Some(port) => Some(port),
        None => {
            let rest = || open.iter().filter(|port| port.name != latent.name && labels(port).is_some());
            let all: Vec<_> = rest().filter(|port| is_called(port.name, &CLASSES)).collect();
            let numbers: Vec<_> = rest().filter(|port| matches!(labels(port), Some(Labels::Number(_)))).collect();
            match (&all[..], &numbers[..]) {
                ([one], _) | ([], [one]) => Some(**one),
                _ => None,
            }
        }
    };
    let mut fixed = Vec::new();
    for port in source.inputs.iter().filter(|port| port.name != latent.name) {
        // What nothing of the image depends on is no input any more, whatever it is.
        if class.is_some_and(|class| class.name == port.name) || !is_needed.contains(port.name) {
            continue;
        }
        let is_one = volume(&port.shape.iter().map(|n| n.unwrap_or(1)).collect::<Vec<_>>()) == Some(1);
        match given(port) {
            Some(value) => fixed.push((port, value)),
            None if is_one && is_called(port.name, &TRUNCATIONS) => fixed.push((port, 1.)),
            None => {
                return Err(format!(
                    "has the inputs {}; say what {} is: --input NAME=VALUE fixes it, --class NAME makes it the class",
                    listed(&source.inputs),
                    shown(port.name)
                ));
            }
        }
    }
    let class = class.map(|port| classes(source, port, wishes).map(|(labels, n)| (port, labels, n))).transpose()?;
    Ok(Ports { latent, class, fixed, image })
}

/// The output that is the image.
fn image<'s, 'a>(source: &'s Source<'a>, wishes: &Wishes) -> Result<&'s Port<'a>, String> {
    if let Some(name) = &wishes.image {
        return named(&source.outputs, name, "output");
    }
    if let [one] = &source.outputs[..] {
        return Ok(one);
    }
    let is_image = |port: &&Port<'_>| match port.shape[..] {
        [_, a, _, b] => [a, b].into_iter().flatten().any(|n| n <= crate::model::MAX_CHANNELS),
        _ => false,
    };
    let all: Vec<_> = source.outputs.iter().filter(is_image).collect();
    match all[..] {
        [one] => Ok(one),
        _ => Err(format!("has the outputs {}; say which one is the image: --image NAME", listed(&source.outputs))),
    }
}

/// The values that one depends on, itself included.
pub(super) fn needed<'a>(source: &Source<'a>, name: &'a str) -> HashSet<&'a str> {
    let mut found = HashSet::from([name]);
    for node in source.nodes.iter().rev() {
        if node.outputs.iter().any(|name| found.contains(name)) {
            found.extend(node.inputs.iter());
        }
    }
    found
}

/// The kind of labels of an input, and how many classes there are.
fn classes(source: &Source<'_>, port: &Port<'_>, wishes: &Wishes) -> Result<(Labels, usize), String> {
    let labels = labels(port).ok_or_else(|| {
        format!(
            "has {}, which cannot be the class: that is i64 or i32 [N], or one number for each class [N, classes]",
            described(port)
        )
    })?;
    let found = match labels {
        Labels::OneHot(_) => port.shape.get(1).copied().flatten(),
        Labels::Number(_) => rows(source, port.name),
    };
    let n = match (wishes.classes, found, labels) {
        (Some(n), Some(found), Labels::OneHot(_)) if n != found => {
            return Err(format!("has {}, of {found} classes, and --classes says {n}", described(port)));
        }
        (Some(n), ..) | (None, Some(n), _) => n,
        (None, None, _) => return Err(format!("does not tell how many classes {} has: --classes N", described(port))),
    };
    match (1..=MAX_CLASSES).contains(&n) {
        true => Ok((labels, n)),
        false => Err(format!("has {n} classes, allowed are 1 to {MAX_CLASSES}")),
    }
}

/// How many rows there are of the table that a class picks one of.
fn rows(source: &Source<'_>, class: &str) -> Option<usize> {
    let mut names = HashSet::from([class]);
    for node in &source.nodes {
        let input = |i: usize| node.inputs.get(i).copied().unwrap_or_default();
        let constant = |i: usize| source.constants.get(input(i));
        let is_class = |i: usize| names.contains(input(i));
        match node.op {
            "Gather" if is_class(1) && node.int("axis").unwrap_or(0) == 0 => {
                if let Some(table) = constant(0) {
                    return table.shape.first().copied();
                }
            }
            "OneHot" if is_class(0) => return constant(1)?.number().map(|n| n as usize),
            "Equal" if is_class(0) || is_class(1) => {
                let all = constant(usize::from(is_class(0)))?.ints()?;
                return all.iter().copied().eq(0..all.len() as i64).then_some(all.len());
            }
            _ => (),
        }
        // Keras computes with indices before it takes rows by them.
        if node.inputs.iter().any(|name| names.contains(name)) {
            names.extend(node.outputs.iter());
        }
    }
    None
}

impl<'a> Ports<'_, 'a> {
    /// Puts what the inputs are into a translation, but for the latent.
    pub(super) fn enter(&self, to: &mut Translation<'a>) -> Result<(), String> {
        if let Some((port, labels, n)) = &self.class {
            to.classes = *n;
            to.input("class", crate::graph::ElementType::I64, Vec::new())?;
            let numbers: Vec<i64> = (0..*n as i64).collect();
            let table = match labels {
                Labels::Number(kind) => {
                    let shape = if port.shape.len() == 2 { vec![*n, 1] } else { vec![*n] };
                    Tensor::from_ints(*kind, &shape, &numbers)
                }
                Labels::OneHot(kind) => {
                    let len = n.checked_mul(*n).filter(|len| *len <= MOST).ok_or_else(|| {
                        let (port, most) = (described(port), MOST.isqrt());
                        format!("has {port}, one number for each of {n} classes, allowed are {most} classes")
                    })?;
                    let ones: Vec<i64> = (0..len).map(|i| (i / n == i % n).into()).collect();
                    Tensor::from_ints(*kind, &[*n, *n], &ones)
                }
            };
            let table = to.by_class(table)?;
            to.values.insert(port.name, table);
        }
        for (port, value) in &self.fixed {
            let kind = kind(port).ok_or_else(|| format!("has {}, which cannot be fixed", described(port)))?;
            // One for each sample of a batch that is fixed, too.
            let is_open = match port.shape[..] {
                [None, ..] => true,
                [Some(n), _, ..] => n > 1 && to.fixed == Some(n),
                _ => false,
            };
            let most = if is_open { MOST / PROBES[1].max(to.classes) } else { MOST };
            let sizes: Option<Vec<usize>> = port.shape.iter().skip(usize::from(is_open)).copied().collect();
            let sizes = sizes.filter(|sizes| volume(sizes).is_some_and(|n| n <= most)).ok_or_else(|| {
                let what = "to be fixed it must be of known sizes and of at most";
                format!("has {}; {what} {most} numbers: export it so", described(port))
            })?;
            let fixed = match is_open {
                true => to.uniform(kind, &sizes, *value)?,
                false => {
                    let one = Tensor::from_numbers(kind, &[], &[*value]);
                    Value::Same(Rc::new(expanded(&one, &sizes)?))
                }
            };
            to.values.insert(port.name, fixed);
        }
        Ok(())
    }
}
