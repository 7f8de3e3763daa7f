//! Operators that are computed when the generator runs: those of old versions in their new form, shapes without the number
//! of samples, and what a generator file has other words for.

use super::source::{Node, Setting};
use super::tensor::{Kind, Tensor};
use super::translate::{Size, Translation, Value, attributes};
use crate::graph::{self, Attribute, ElementType, Text};
use crate::operators::MAX_LIST;
use crate::text::shown;

/// Operators that take one part for each sample, where exporters may give what is the same for all.
const EACH: [&str; 12] = [
    "AveragePool",
    "BatchNormalization",
    "Conv",
    "ConvTranspose",
    "DepthToSpace",
    "GlobalAveragePool",
    "GlobalMaxPool",
    "InstanceNormalization",
    "MaxPool",
    "Resize",
    "SpaceToDepth",
    "Upsample",
];

/// Translates a node whose inputs are not all known.
pub(super) fn node<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let fixed = to.fixed;
    lowered(to, node).map_err(|what| {
        let hint = match fixed {
            Some(n) => format!(
                "; the file is for batches of {n} alone, which may be why: export it with a symbolic number of samples \
                 (in PyTorch `dynamic_axes`, or `dynamic_shapes` with `dynamo=True`)"
            ),
            None => String::new(),
        };
        format!("has {}, which {what}{hint}", node.place())
    })
}

fn lowered<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    match node.op {
        "Reshape" => super::shapes::reshape(to, node),
        "Flatten" => super::shapes::flatten(to, node),
        "Squeeze" => super::shapes::squeeze(to, node),
        "Expand" => super::shapes::expand(to, node),
        "Tile" => super::shapes::tile(to, node),
        "Slice" => super::shapes::slice(to, node),
        "Upsample" | "Resize" => super::windows::resize(to, node),
        "ConvTranspose" => super::windows::transposed(to, node),
        "Conv" => {
            super::windows::check_kernel(to, node)?;
            plain(to, node, &[], &[])
        }
        "Unsqueeze" => {
            let axes = list(to, node, "axes", 1)?.ok_or("does not say which axes it makes")?;
            with_lists(to, node, 1, &[Some(axes)], &["axes"])
        }
        "Pad" => pad(to, node),
        "Clip" => clip(to, node),
        "Cast" => cast(to, node),
        "Concat" => concat(to, node),
        "Split" => split(to, node),
        "Softmax" | "LogSoftmax" => softmax(to, node),
        "GroupNormalization" => group_norm(to, node),
        "BatchNormalization" => {
            if node.int("spatial") == Some(0) {
                return Err("has other means for each position, which no generator may have".into());
            }
            plain(to, node, &["spatial", "training_mode"], &[1])
        }
        op if op.starts_with("Reduce") => reduce(to, node),
        _ => plain(to, node, &[], &[]),
    }
}

/// The names of the first `most` inputs in the new graph, where a sample's part is made where one is needed.
fn inputs<'a>(to: &mut Translation<'a>, node: &Node<'a>, most: usize) -> Result<Vec<Text<'a>>, String> {
    let mut names: Vec<Text<'a>> = node.inputs.iter().take(most).map(|name| to.name(name)).collect::<Result<_, _>>()?;
    if EACH.contains(&node.op) && !names.is_empty() {
        names[0] = to.per_sample(&names[0])?;
    }
    Ok(names)
}

/// Adds `op` with these inputs and settings as what makes the outputs of `node`.
pub(super) fn finish<'a>(
    to: &mut Translation<'a>,
    node: &Node<'a>,
    op: &'a str,
    inputs: Vec<Text<'a>>,
    attributes: Vec<Attribute<'a>>,
    outputs: usize,
) -> Result<(), String> {
    let names: Vec<Text<'a>> = node.outputs.iter().take(outputs).map(|name| to.output(name)).collect();
    to.add_node(graph::Node { op: op.into(), inputs, outputs: names.clone(), attributes })?;
    for (name, put) in node.outputs.iter().zip(names) {
        if to.values.insert(name, Value::Live(put)).is_some() {
            return Err(format!("makes {}, which is made twice", shown(name)));
        }
    }
    Ok(())
}

/// Leaves a node as it is, but for settings that mean nothing any more; `outputs` are how many it has, if that may be fewer.
fn plain<'a>(to: &mut Translation<'a>, node: &Node<'a>, without: &[&str], outputs: &[usize]) -> Result<(), String> {
    let names = inputs(to, node, usize::MAX)?;
    let outputs = outputs.first().copied().unwrap_or(node.outputs.len());
    finish(to, node, node.op, names, attributes(node, without)?, outputs)
}

/// Adds a node whose inputs after the first `kept` are lists of integers.
pub(super) fn with_lists<'a>(
    to: &mut Translation<'a>,
    node: &Node<'a>,
    kept: usize,
    lists: &[Option<Vec<i64>>],
    without: &[&str],
) -> Result<(), String> {
    let mut names = inputs(to, node, kept)?;
    let stem = node.outputs.first().copied().unwrap_or_default();
    for list in lists {
        names.push(match list {
            Some(list) => to.list(&format!("{stem}/sizes"), list)?,
            None => "".into(),
        });
    }
    while names.last().is_some_and(|name| name.is_empty()) {
        names.pop();
    }
    finish(to, node, node.op, names, attributes(node, without)?, node.outputs.len())
}

/// A list that is a setting in old versions and an input in new ones.
pub(super) fn list<'a>(
    to: &Translation<'a>,
    node: &Node<'a>,
    name: &str,
    i: usize,
) -> Result<Option<Vec<i64>>, String> {
    match (node.ints(name), to.constant(node, i)?) {
        (Some(all), _) if all.len() <= MAX_LIST => Ok(Some(all.to_vec())),
        (Some(all), _) => Err(format!("has {name} of {} integers, allowed are at most {MAX_LIST}", all.len())),
        (None, Some(tensor)) => {
            let all = tensor.ints().filter(|all| all.len() <= MAX_LIST);
            all.map(Some)
                .ok_or_else(|| format!("takes {tensor} as input {i}, which must be at most {MAX_LIST} integers"))
        }
        (None, None) => Ok(None),
    }
}

/// The type of the first input, which is put into the new graph.
pub(super) fn first<'a>(
    to: &mut Translation<'a>,
    node: &Node<'a>,
) -> Result<(Text<'a>, crate::operators::Typed), String> {
    let name = to.name(node.inputs.first().ok_or("takes nothing")?)?;
    let typed = to.typed(&name)?.clone();
    Ok((name, typed))
}

fn float_kind(element: ElementType) -> Kind {
    match element {
        ElementType::F16 => Kind::F16,
        _ => Kind::F32,
    }
}

/// Lower and upper bound are settings in old versions, scalars in new ones.
fn clip<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let (name, typed) = first(to, node)?;
    let mut names = vec![name];
    for (i, bound) in ["min", "max"].into_iter().enumerate() {
        let number = match (node.setting(bound), to.constant(node, i + 1)?) {
            (Some(Setting::Float(x)), _) => Some(f64::from(*x)),
            (_, Some(tensor)) => Some(tensor.number().ok_or("has bounds that are no single numbers")?),
            _ => None,
        };
        names.push(match number.filter(|x| x.is_finite() && x.abs() < f64::from(f32::MAX)) {
            Some(x) => to.weight(bound, &Tensor::from_numbers(float_kind(typed.element), &[], &[x]))?,
            None => "".into(),
        });
    }
    while names.last().is_some_and(|name| name.is_empty()) {
        names.pop();
    }
    finish(to, node, "Clip", names, Vec::new(), 1)
}

fn pad<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let (name, typed) = first(to, node)?;
    let mut pads = list(to, node, "pads", 1)?.ok_or("does not say by how much")?;
    if let Some(axes) = list(to, node, "axes", 3)? {
        let rank = typed.sizes.len() as i64 + i64::from(typed.per_sample);
        let mut all = vec![0; 2 * rank as usize];
        for (i, at) in axes.iter().enumerate() {
            let at = usize::try_from(if *at < 0 { at + rank } else { *at }).ok().filter(|at| *at < rank as usize);
            let (Some(at), Some(begin), Some(end)) = (at, pads.get(i), pads.get(axes.len() + i)) else {
                return Err(format!("pads the axes {axes:?} of {typed} by {pads:?}"));
            };
            (all[at], all[at + rank as usize]) = (*begin, *end);
        }
        pads = all;
    }
    let value = match (node.setting("value"), to.constant(node, 2)?) {
        (Some(Setting::Float(x)), _) => f64::from(*x),
        (_, Some(tensor)) => tensor.number().ok_or("pads with no single number")?,
        _ => 0.,
    };
    let mut names = vec![name, to.list("pads", &pads)?];
    if value != 0. {
        names.push(to.weight("pad", &Tensor::from_numbers(float_kind(typed.element), &[], &[value]))?);
    }
    finish(to, node, "Pad", names, attributes(node, &["pads", "value"])?, 1)
}

/// What is cast to its own type is left out; bytes, which images may end as, stay numbers without a fraction.
fn cast<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let (name, typed) = first(to, node)?;
    match Kind::from_number(node.int("to").unwrap_or(0) as u64) {
        Some(Kind::U8) if typed.element.is_float() => finish(to, node, "Floor", vec![name], Vec::new(), 1),
        Some(kind) if kind as u64 == typed.element as u64 => to.define(node, Value::Live(name)),
        _ => plain(to, node, &["saturate", "round_mode"], &[]),
    }
}

/// What is joined to samples' own parts must be one of each.
fn concat<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let mut names = inputs(to, node, usize::MAX)?;
    let mut is_any = false;
    for name in &names {
        is_any |= to.typed(name)?.per_sample;
    }
    if is_any {
        for name in &mut names {
            *name = to.per_sample(name)?;
        }
    }
    finish(to, node, "Concat", names, attributes(node, &[])?, 1)
}

fn split<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let (_, typed) = first(to, node)?;
    let lists = match list(to, node, "split", 1)? {
        Some(all) => vec![Some(all)],
        None => {
            let at = node.int("axis").unwrap_or(0);
            let rank = typed.sizes.len() as i64 + i64::from(typed.per_sample);
            let at = (if at < 0 { at + rank } else { at }) - i64::from(typed.per_sample);
            let whole = usize::try_from(at).ok().and_then(|at| typed.sizes.get(at)).ok_or("would mix samples")?;
            let parts = node.outputs.len();
            // The last part is the smaller one.
            let each = whole.div_ceil(parts.max(1));
            vec![Some((0..parts).map(|i| (whole.saturating_sub(i * each)).min(each) as i64).collect())]
        }
    };
    with_lists(to, node, 1, &lists, &["split", "num_outputs"])
}

/// In old versions it went along all axes from one on.
fn softmax<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let (name, typed) = first(to, node)?;
    let rank = typed.sizes.len() as i64 + i64::from(typed.per_sample);
    let at = node.int("axis").unwrap_or(if to.from < 13 { 1 } else { -1 });
    if to.from < 13 && ![rank - 1, -1].contains(&at) {
        return Err(format!("goes along all axes of {typed} from {at} on: export it with opset 13 or newer"));
    }
    let axis = Attribute { name: "axis".into(), value: graph::Setting::Int(at) };
    finish(to, node, node.op, vec![name], vec![axis], 1)
}

/// Axes are a setting in old versions and an input in new ones, not the same for all operators.
fn reduce<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let axes = list(to, node, "axes", 1)?;
    let as_input = to.opset() >= if node.op == "ReduceSum" { 13 } else { 18 };
    if as_input {
        return with_lists(to, node, 1, &[axes], &["axes"]);
    }
    let (name, _) = first(to, node)?;
    let mut settings = attributes(node, &["axes", "noop_with_empty_axes"])?;
    settings.extend(axes.map(|axes| Attribute { name: "axes".into(), value: graph::Setting::Ints(axes) }));
    finish(to, node, node.op, vec![name], settings, 1)
}

/// Channels in groups, each brought to mean 0 and variance 1, as one channel of what normalises every one by itself.
fn group_norm<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let (name, typed) = first(to, node)?;
    let (Some(&channels), Some(groups)) = (typed.sizes.first(), node.int("num_groups")) else {
        return Err(format!("takes {typed}, which must be [N, channels, ...]"));
    };
    let groups = usize::try_from(groups).ok().filter(|n| *n > 0 && channels.is_multiple_of(*n));
    let groups = groups.ok_or_else(|| format!("has groups that do not divide {channels} channels"))?;
    let whole: usize = typed.sizes.iter().product();
    let ints = |all: &[usize]| all.iter().map(|&n| n as i64).collect::<Vec<_>>();
    let apart = to.list("groups/shape", &[-1, groups as i64, (whole / groups) as i64])?;
    let back = to.list("groups/back", &[&[-1], &ints(&typed.sizes)[..]].concat())?;
    let mut last = to.put("Reshape", vec![name, apart], "groups", vec![])?;
    let kind = float_kind(typed.element);
    let one = to.weight("groups/one", &Tensor::from_numbers(kind, &[groups], &vec![1.; groups]))?;
    let zero = to.weight("groups/zero", &Tensor::from_numbers(kind, &[groups], &vec![0.; groups]))?;
    let epsilon = match node.setting("epsilon") {
        Some(Setting::Float(x)) => *x,
        _ => 1e-5,
    };
    let epsilon = vec![("epsilon", graph::Setting::Float(epsilon))];
    last = to.put("InstanceNormalization", vec![last, one, zero], "groups", epsilon)?;
    last = to.put("Reshape", vec![last, back], "groups", vec![])?;
    let mut shape = vec![1; typed.sizes.len()];
    shape[0] = channels;
    for (i, op) in [(1, "Mul"), (2, "Add")] {
        let tensor = to.constant(node, i)?.ok_or("lacks its scale or bias")?;
        // The version that came first had one for each group.
        let each = tensor
            .shaped(&shape)
            .map_err(|_| format!("has {tensor} for {channels} channels: export it with opset 21"))?;
        let weight = to.weight(&format!("{}/channels", node.inputs[i]), &each)?;
        match i {
            1 => last = to.put(op, vec![last, weight], "groups", vec![])?,
            _ => return finish(to, node, op, vec![last, weight], Vec::new(), 1),
        }
    }
    Ok(())
}

/// Whether sizes are the shape of samples of `sizes`, in `shape` after the number of samples.
pub(super) fn leads(to: &Translation<'_>, first: Size) -> bool {
    match first {
        Size::Samples => true,
        Size::Fixed(n) => to.fixed.is_some_and(|fixed| fixed as i64 == n),
        Size::Other => false,
    }
}
