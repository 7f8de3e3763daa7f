//! Operators that change shapes, without the number of samples: what exporters compute from it, or fix it to, is left open.

use super::lower::{finish, first, leads, list, with_lists};
use super::source::Node;
use super::translate::{Size, Translation, Value};
use crate::graph::{Attribute, Text};
use crate::operators::Typed;
use crate::text::shown;

/// Adds a Reshape of `name`, of samples, to samples of these sizes; or none, if they have them.
fn samples<'a>(
    to: &mut Translation<'a>,
    node: &Node<'a>,
    name: Text<'a>,
    typed: &Typed,
    sizes: &[usize],
) -> Result<(), String> {
    if typed.sizes == sizes {
        return to.define(node, Value::Live(name));
    }
    let first: &[i64] = if typed.per_sample { &[-1] } else { &[] };
    let shape: Vec<i64> = first.iter().copied().chain(sizes.iter().map(|&n| n as i64)).collect();
    let shape = to.list(&format!("{}/shape", node.outputs[0]), &shape)?;
    finish(to, node, "Reshape", vec![name, shape], Vec::new(), 1)
}

pub(super) fn reshape<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let (name, typed) = first(to, node)?;
    let target = match node.ints("shape") {
        Some(all) => all.iter().map(|&n| Size::Fixed(n)).collect(),
        None => to.sizes(node, 1)?.ok_or("does not say to which shape")?,
    };
    let whole: usize = typed.sizes.iter().product();
    let wrong = || format!("brings {typed} to {}, which mixes samples or has other elements", listed(&target));
    let zeros = node.int("allowzero") == Some(1);
    let rest = match (typed.per_sample, target.split_first()) {
        (false, _) => &target[..],
        (true, Some((&size, rest))) if leads(to, size) || size == Size::Fixed(-1) => rest,
        (true, Some((&Size::Fixed(0), rest))) if !zeros => rest,
        _ => return Err(wrong()),
    };
    let mut sizes = Vec::new();
    let mut open = None;
    for (i, size) in rest.iter().enumerate() {
        sizes.push(match size {
            Size::Fixed(-1) if open.replace(i).is_none() => 1,
            Size::Fixed(0) if !zeros => *typed.sizes.get(i).ok_or_else(wrong)?,
            Size::Fixed(n) => usize::try_from(*n).map_err(|_| wrong())?,
            Size::Samples | Size::Other => return Err(wrong()),
        });
    }
    let known = super::tensor::volume(&sizes).filter(|n| *n > 0).ok_or_else(wrong)?;
    if let Some(open) = open {
        sizes[open] = whole / known;
    }
    match super::tensor::volume(&sizes) == Some(whole) {
        true => samples(to, node, name, &typed, &sizes),
        false => Err(wrong()),
    }
}

pub(super) fn flatten<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let (name, typed) = first(to, node)?;
    let at = node.int("axis").unwrap_or(1);
    let rank = typed.sizes.len() as i64 + 1;
    match typed.per_sample && [1, 1 - rank].contains(&at) {
        true => samples(to, node, name, &typed, &[typed.sizes.iter().product()]),
        false => Err(format!("flattens {typed} at axis {at}, which mixes samples")),
    }
}

/// Without axes, all of size 1 but for the samples.
pub(super) fn squeeze<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let (name, typed) = first(to, node)?;
    match list(to, node, "axes", 1)? {
        Some(axes) => with_lists(to, node, 1, &[Some(axes)], &["axes"]),
        None => {
            let left: Vec<usize> = typed.sizes.iter().copied().filter(|n| *n != 1).collect();
            samples(to, node, name, &typed, &left)
        }
    }
}

/// Sizes after the number of samples, and whether that comes first.
fn split(to: &Translation<'_>, typed: &Typed, target: &[Size], one: i64) -> Result<(bool, Vec<i64>), String> {
    let rank = typed.sizes.len() + usize::from(typed.per_sample);
    let is_first = match target.first() {
        Some(&size) if target.len() >= rank => leads(to, size) || (typed.per_sample && size == Size::Fixed(one)),
        _ => false,
    };
    let rest = if is_first { &target[1..] } else { target };
    let fixed = |size: &Size| match size {
        Size::Fixed(n) => Some(*n),
        _ => None,
    };
    let rest = rest.iter().map(fixed).collect::<Option<Vec<_>>>();
    rest.map(|rest| (is_first, rest))
        .ok_or_else(|| format!("brings {typed} to {}, which mixes samples", listed(target)))
}

pub(super) fn expand<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let target = to.sizes(node, 1)?.ok_or("does not say to which shape")?;
    let (name, typed) = first(to, node)?;
    let (mut is_first, mut rest) = split(to, &typed, &target, 1)?;
    if typed.per_sample && !is_first {
        // A shape of fewer sizes, or of another number of samples.
        if target.len() > typed.sizes.len() {
            return Err(format!("brings {typed} to {}, which mixes samples", listed(&target)));
        }
        is_first = true;
        let missing = vec![1; typed.sizes.len() - rest.len()];
        rest = [missing, rest].concat();
    }
    if !is_first {
        return with_lists(to, node, 1, &[Some(rest)], &[]);
    }
    let shape: Vec<i64> = std::iter::once(1).chain(rest.iter().map(|n| if *n == -1 { 1 } else { *n })).collect();
    let shape = to.list(&format!("{}/shape", node.outputs[0]), &shape)?;
    if typed.per_sample {
        return finish(to, node, "Expand", vec![name, shape], Vec::new(), 1);
    }
    let whole = to.put("Expand", vec![name, shape], node.outputs[0], vec![])?;
    let each = to.per_sample(&whole)?;
    to.define(node, Value::Live(each))
}

pub(super) fn tile<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let times = to.sizes(node, 1)?.ok_or("does not say how often")?;
    let (name, typed) = first(to, node)?;
    let (is_first, rest) = split(to, &typed, &times, 1)?;
    if typed.per_sample && (!is_first || !matches!(times[0], Size::Fixed(1))) {
        return Err(format!("repeats {typed} {} times, which mixes samples", listed(&times)));
    }
    let all: Vec<i64> = if is_first { std::iter::once(1).chain(rest).collect() } else { rest };
    let all = to.list(&format!("{}/times", node.outputs[0]), &all)?;
    if typed.per_sample || !is_first {
        return finish(to, node, "Tile", vec![name, all], Vec::new(), 1);
    }
    let whole = to.put("Tile", vec![name, all], node.outputs[0], vec![])?;
    let each = to.per_sample(&whole)?;
    to.define(node, Value::Live(each))
}

/// Lists are settings in old versions; what takes all samples is left out.
pub(super) fn slice<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let (name, typed) = first(to, node)?;
    let starts = list(to, node, "starts", 1)?.ok_or("does not say where it begins")?;
    let ends: Vec<Size> = match node.ints("ends") {
        Some(all) => all.iter().map(|&n| Size::Fixed(n)).collect(),
        None => to.sizes(node, 2)?.ok_or("does not say where it ends")?,
    };
    let axes = list(to, node, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = list(to, node, "steps", 4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("has lists of different lengths".into());
    }
    let rank = typed.sizes.len() as i64 + 1;
    let mut lists = [(); 4].map(|()| Vec::new());
    for i in 0..starts.len() {
        let is_samples = typed.per_sample && [0, -rank].contains(&axes[i]);
        let is_all = match ends[i] {
            Size::Fixed(n) => n >= i64::from(i32::MAX) || leads(to, ends[i]),
            _ => leads(to, ends[i]),
        };
        if is_samples && starts[i] == 0 && steps[i] == 1 && is_all {
            continue;
        }
        let Size::Fixed(end) = ends[i] else {
            return Err(format!("ends at {}, which depends on the number of samples", listed(&ends)));
        };
        for (list, n) in lists.iter_mut().zip([starts[i], end, axes[i], steps[i]]) {
            list.push(n);
        }
    }
    if lists[0].is_empty() {
        return to.define(node, Value::Live(name));
    }
    let stem = node.outputs[0];
    let mut names = vec![name];
    for list in &lists {
        names.push(to.list(&format!("{stem}/slice"), list)?);
    }
    finish(to, node, "Slice", names, Vec::<Attribute<'a>>::new(), 1)
}

fn listed(sizes: &[Size]) -> String {
    let one = |size: &Size| match size {
        Size::Fixed(n) => n.to_string(),
        Size::Samples => "N".into(),
        Size::Other => "what depends on N".into(),
    };
    shown(&sizes.iter().map(one).collect::<Vec<_>>().join(", ")).replace('"', "").replace(&['['][..], "")
}
