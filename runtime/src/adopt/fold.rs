//! Computes constants from constants: the sizes, flags and tables that exporters leave for whoever runs the file.

use super::arithmetic;
use super::source::{Node, Setting};
use super::tensor::{Kind, Tensor, volume};
use super::translate::MOST_COMPUTED;
use crate::graph::MAX_RANK;

/// Most elements of a constant that is computed here; larger ones are left to ONNX Runtime.
pub(super) const MOST: usize = 1 << 22;

/// The inputs of a node that is computed; `None` is one that is left out.
pub(super) struct Inputs<'i, 'a>(pub(super) &'i [Option<&'i Tensor<'a>>]);

impl<'i, 'a> Inputs<'i, 'a> {
    fn get(&self, i: usize) -> Result<&'i Tensor<'a>, String> {
        self.optional(i).ok_or_else(|| format!("lacks its input {i}"))
    }

    fn optional(&self, i: usize) -> Option<&'i Tensor<'a>> {
        self.0.get(i).copied().flatten()
    }

    /// Input `i`: a list with a number for each of some axes.
    fn ints(&self, i: usize) -> Result<Vec<i64>, String> {
        let tensor = self.get(i)?;
        let all = Some(tensor).filter(|tensor| tensor.len() <= MAX_RANK).and_then(Tensor::ints);
        all.ok_or_else(|| format!("takes {tensor} as input {i}, which must be at most {MAX_RANK} integers"))
    }

    fn sizes(&self, i: usize) -> Result<Vec<usize>, String> {
        sizes(&self.ints(i)?)
    }
}

fn sizes(all: &[i64]) -> Result<Vec<usize>, String> {
    all.iter().map(|&n| usize::try_from(n).map_err(|_| format!("has the impossible sizes {all:?}"))).collect()
}

/// An axis of a tensor of so many sizes, by its number in the file.
fn axis(axis: i64, rank: usize) -> Result<usize, String> {
    let at = if axis < 0 { axis.saturating_add(rank as i64) } else { axis };
    usize::try_from(at).ok().filter(|at| *at < rank).ok_or_else(|| format!("works along axis {axis} of {rank}"))
}

/// A list that is a setting in old versions and an input in new ones.
fn list(node: &Node<'_>, name: &str, inputs: &Inputs<'_, '_>, i: usize) -> Result<Option<Vec<i64>>, String> {
    match (node.ints(name), inputs.optional(i)) {
        (Some(all), _) if all.len() <= MAX_RANK => Ok(Some(all.to_vec())),
        (Some(all), _) => Err(format!("has {name} of {} integers, allowed are at most {MAX_RANK}", all.len())),
        (None, Some(_)) => inputs.ints(i).map(Some),
        (None, None) => Ok(None),
    }
}

/// What `node` makes of constants; `None` if that is not known here, or large.
///
/// # Errors
/// Inputs that do not fit.
pub(super) fn computed<'a>(node: &Node<'a>, inputs: &Inputs<'_, 'a>) -> Result<Option<Tensor<'a>>, String> {
    match made(node, inputs)? {
        Some(tensor) if tensor.shape.len() > MAX_RANK => {
            Err(format!("makes a tensor of {} sizes, allowed are {MAX_RANK}", tensor.shape.len()))
        }
        made => Ok(made),
    }
}

/// The same, of any number of sizes.
fn made<'a>(node: &Node<'a>, inputs: &Inputs<'_, 'a>) -> Result<Option<Tensor<'a>>, String> {
    // Sizes of 0 hide how large the others are.
    let is_large = |tensor: &&Tensor<'_>| {
        tensor.shape.iter().try_fold(1usize, |n, &size| n.checked_mul(size.max(1))).is_none_or(|n| n > MOST)
    };
    if inputs.0.iter().flatten().any(is_large) && !["Identity", "Dropout"].contains(&node.op) {
        return Ok(None);
    }
    let first = || inputs.get(0);
    Ok(Some(match node.op {
        "Identity" | "Dropout" => first()?.clone(),
        "Cast" => match Kind::from_number(node.int("to").unwrap_or(0) as u64) {
            Some(kind) => first()?.cast(kind),
            None => return Ok(None),
        },
        "Shape" => {
            let shape: Vec<i64> = first()?.shape.iter().map(|&n| n as i64).collect();
            part_of_shape(node, &shape)
        }
        "Size" => Tensor::of_ints(&[], &[first()?.len() as i64]),
        "ConstantOfShape" => filled(node, &inputs.sizes(0)?)?,
        "Range" => range(inputs)?,
        "Reshape" => reshape(first()?, &inputs.ints(1)?, node.int("allowzero") == Some(1))?,
        "Flatten" => {
            let (tensor, at) = (first()?, node.int("axis").unwrap_or(1));
            let at = axis(at, tensor.shape.len() + 1)?;
            let [rows, columns] = [&tensor.shape[..at], &tensor.shape[at..]].map(|part| volume(part).unwrap_or(0));
            tensor.shaped(&[rows, columns])?
        }
        "Squeeze" => squeeze(first()?, list(node, "axes", inputs, 1)?)?,
        "Unsqueeze" => unsqueeze(first()?, &list(node, "axes", inputs, 1)?.unwrap_or_default())?,
        "Transpose" => transpose(first()?, node.ints("perm"))?,
        "Concat" => concat(inputs, node.int("axis").unwrap_or(0))?,
        "Gather" => gather(first()?, inputs.get(1)?, node.int("axis").unwrap_or(0))?,
        "Slice" => slice(node, inputs)?,
        "Expand" => expanded(first()?, &inputs.sizes(1)?)?,
        "Tile" => {
            let (tensor, times) = (first()?, inputs.sizes(1)?);
            if times.len() != tensor.shape.len() {
                return Err(format!("repeats {tensor} {times:?} times"));
            }
            let shape: Vec<usize> = tensor.shape.iter().zip(times).map(|(n, times)| n.saturating_mul(times)).collect();
            placed(tensor, &shape, |at, from| at.iter().zip(from).map(|(at, n)| at % n).collect())?
        }
        "OneHot" => one_hot(inputs, node.int("axis").unwrap_or(-1))?,
        "Where" => chosen(inputs)?,
        "MatMul" => return arithmetic::product(first()?, inputs.get(1)?),
        "ReduceProd" | "ReduceSum" | "ReduceMax" | "ReduceMin" => return arithmetic::whole(node, first()?),
        _ => return arithmetic::computed(node, inputs),
    }))
}

pub(super) fn constant<'a>(node: &Node<'a>) -> Result<Tensor<'a>, String> {
    match &node.settings[..] {
        [("value", Setting::Tensor(tensor))] => Ok(tensor.clone()),
        [("value_int", Setting::Int(n))] => Ok(Tensor::of_ints(&[], &[*n])),
        [("value_ints", Setting::Ints(all))] => Ok(Tensor::of_ints(&[all.len()], all)),
        [("value_float", Setting::Float(x))] => Ok(Tensor::from_numbers(Kind::F32, &[], &[f64::from(*x)])),
        [("value_floats", Setting::Floats(all))] => {
            let all: Vec<f64> = all.iter().map(|&x| x.into()).collect();
            Ok(Tensor::from_numbers(Kind::F32, &[all.len()], &all))
        }
        _ => Err("has a Constant that is no tensor of numbers".into()),
    }
}

/// A tensor of this shape, of the one element that the node says, 0 unless it does.
fn filled<'a>(node: &Node<'a>, shape: &[usize]) -> Result<Tensor<'a>, String> {
    let one = match node.setting("value") {
        Some(Setting::Tensor(one)) if one.len() == 1 => one.clone(),
        None => Tensor::from_numbers(Kind::F32, &[1], &[0.]),
        _ => return Err("has no single number as its value".into()),
    };
    let len = volume(shape).filter(|len| *len <= MOST).ok_or_else(|| format!("makes a tensor {shape:?}"))?;
    Ok(one.taken(shape, std::iter::repeat_n(0, len)))
}

/// The sizes of a shape that a node asks for.
pub(super) fn part_of_shape<'a>(node: &Node<'_>, shape: &[i64]) -> Tensor<'a> {
    let n = shape.len() as i64;
    let place = |at: i64| (if at < 0 { at.saturating_add(n) } else { at }).clamp(0, n) as usize;
    let (start, end) = (place(node.int("start").unwrap_or(0)), place(node.int("end").unwrap_or(n)));
    let part = &shape[start..end.max(start)];
    Tensor::of_ints(&[part.len()], part)
}

fn range<'a>(inputs: &Inputs<'_, 'a>) -> Result<Tensor<'a>, String> {
    let kind = inputs.get(0)?.kind;
    let number = |i: usize| inputs.get(i)?.number().ok_or_else(|| format!("takes no single number as input {i}"));
    let (start, end, step) = (number(0)?, number(1)?, number(2)?);
    let count = ((end - start) / step).ceil().max(0.);
    if !count.is_finite() || count > MOST as f64 {
        return Err(format!("counts from {start} to {end} in steps of {step}"));
    }
    let all: Vec<f64> = (0..count as usize).map(|i| start + i as f64 * step).collect();
    Ok(Tensor::from_numbers(kind, &[all.len()], &all))
}

fn reshape<'a>(tensor: &Tensor<'a>, target: &[i64], zeros: bool) -> Result<Tensor<'a>, String> {
    let copied = |(i, &n): (usize, &i64)| match n {
        0 if !zeros => tensor.shape.get(i).map_or(n, |&n| n as i64),
        n => n,
    };
    let mut target: Vec<i64> = target.iter().enumerate().map(copied).collect();
    if let Some(open) = target.iter().position(|n| *n == -1) {
        target[open] = 1;
        let known = volume(&sizes(&target)?).filter(|n| *n > 0).unwrap_or(1);
        target[open] = (tensor.len() / known) as i64;
    }
    tensor.shaped(&sizes(&target)?)
}

fn squeeze<'a>(tensor: &Tensor<'a>, axes: Option<Vec<i64>>) -> Result<Tensor<'a>, String> {
    let rank = tensor.shape.len();
    let axes = match axes {
        Some(axes) => axes.iter().map(|&at| axis(at, rank)).collect::<Result<_, _>>()?,
        None => (0..rank).filter(|&i| tensor.shape[i] == 1).collect::<Vec<_>>(),
    };
    let left = tensor.shape.iter().enumerate().filter(|(i, _)| !axes.contains(i));
    tensor.shaped(&left.map(|(_, &n)| n).collect::<Vec<_>>())
}

fn unsqueeze<'a>(tensor: &Tensor<'a>, axes: &[i64]) -> Result<Tensor<'a>, String> {
    let rank = tensor.shape.len() + axes.len();
    let axes = axes.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?;
    let mut old = tensor.shape.iter();
    let shape: Vec<usize> =
        (0..rank).filter_map(|i| if axes.contains(&i) { Some(1) } else { old.next().copied() }).collect();
    tensor.shaped(&shape)
}

/// Of each element the one of the second input where the first says so, else that of the third.
fn chosen<'a>(inputs: &Inputs<'_, 'a>) -> Result<Tensor<'a>, String> {
    let [flags, a, b] = [inputs.get(0)?, inputs.get(1)?, inputs.get(2)?];
    if flags.kind != Kind::Bool || a.kind != b.kind {
        return Err(format!("takes {flags}, {a} and {b}, allowed are bool and two of one type"));
    }
    let shape = common(inputs)?;
    let [flags, a, b] = [expanded(flags, &shape)?, expanded(a, &shape)?, expanded(b, &shape)?];
    let (size, mut data) = (a.kind.size(), Vec::with_capacity(a.data.len()));
    for (i, flag) in flags.data.iter().enumerate() {
        data.extend_from_slice(&if *flag != 0 { &a } else { &b }.data[i * size..][..size]);
    }
    Ok(Tensor { kind: a.kind, shape, data: data.into() })
}

/// A tensor of the shape `shape`, each element of which is that of `tensor` at the place that `from` makes of its own.
fn placed<'a>(
    tensor: &Tensor<'a>,
    shape: &[usize],
    from: impl Fn(&[usize], &[usize]) -> Vec<usize>,
) -> Result<Tensor<'a>, String> {
    let len =
        volume(shape).filter(|len| *len <= MOST).ok_or_else(|| format!("makes a tensor {shape:?} of {tensor}"))?;
    let mut at = vec![0; shape.len()];
    let places = (0..len).map(|_| {
        let place = from(&at, &tensor.shape);
        for (at, &n) in at.iter_mut().zip(shape).rev() {
            *at += 1;
            if *at < n {
                break;
            }
            *at = 0;
        }
        place.iter().zip(&tensor.shape).fold(0, |sum, (at, n)| sum * n + at)
    });
    let places: Vec<usize> = places.collect();
    Ok(tensor.taken(shape, places.into_iter()))
}

fn transpose<'a>(tensor: &Tensor<'a>, perm: Option<&[i64]>) -> Result<Tensor<'a>, String> {
    let rank = tensor.shape.len();
    let perm = match perm {
        Some(perm) if perm.len() != rank => return Err(format!("gives {tensor} an order of {} axes", perm.len())),
        Some(perm) => perm.iter().map(|&at| axis(at, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).rev().collect(),
    };
    if (0..rank).any(|i| !perm.contains(&i)) {
        return Err(format!("moves the axes of {tensor} to {perm:?}"));
    }
    let shape: Vec<usize> = perm.iter().map(|&at| tensor.shape[at]).collect();
    placed(tensor, &shape, |at, from| {
        let mut place = vec![0; from.len()];
        perm.iter().zip(at).for_each(|(&to, &at)| place[to] = at);
        place
    })
}

fn concat<'a>(inputs: &Inputs<'_, 'a>, at: i64) -> Result<Tensor<'a>, String> {
    let first = inputs.get(0)?;
    let at = axis(at, first.shape.len())?;
    let mut shape = first.shape.clone();
    shape[at] = 0;
    for i in 0..inputs.0.len() {
        let tensor = inputs.get(i)?;
        let mut like = tensor.shape.clone();
        let own = *like.get(at).ok_or("joins tensors that do not fit")?;
        like[at] = first.shape[at];
        if like != first.shape || tensor.kind != first.kind {
            return Err(format!("joins {first} and {tensor}, which do not fit"));
        }
        shape[at] = shape[at].checked_add(own).ok_or("makes a tensor of impossible size")?;
    }
    let len = volume(&shape)
        .filter(|len| *len <= MOST_COMPUTED)
        .ok_or_else(|| format!("makes a tensor {shape:?}, allowed are {MOST_COMPUTED} elements"))?;
    // Of nothing there may be any number of rows.
    let rows = if len == 0 { 0 } else { volume(&shape[..at]).unwrap_or(0) };
    let mut data = Vec::with_capacity(len * first.kind.size());
    for row in 0..rows {
        for tensor in inputs.0.iter().flatten() {
            let len = tensor.data.len() / rows;
            data.extend_from_slice(&tensor.data[row * len..][..len]);
        }
    }
    Ok(Tensor { kind: first.kind, shape, data: data.into() })
}

pub(super) fn gather<'a>(tensor: &Tensor<'a>, indices: &Tensor<'_>, at: i64) -> Result<Tensor<'a>, String> {
    let at = axis(at, tensor.shape.len())?;
    let n = tensor.shape[at] as i64;
    let all = indices.ints().ok_or_else(|| format!("takes {indices} as indices"))?;
    let place = |i: i64| if i < 0 { i.saturating_add(n) } else { i };
    if let Some(wrong) = all.iter().find(|&&i| !(0..n).contains(&place(i))) {
        return Err(format!("takes row {wrong} of {n}"));
    }
    let (before, after) = tensor.shape.split_at(at);
    let (rows, width) = (volume(before).unwrap_or(0), volume(&after[1..]).unwrap_or(0));
    let shape: Vec<usize> = before.iter().chain(&indices.shape).chain(&after[1..]).copied().collect();
    let len = volume(&shape).filter(|len| *len <= MOST);
    let len = len.ok_or_else(|| format!("makes a tensor {shape:?} of {tensor}, allowed are {MOST} elements"))?;
    // Of nothing there may be any number of rows.
    let rows = if len == 0 { 0 } else { rows };
    let starts = (0..rows).flat_map(|row| all.iter().map(move |&i| (row * n as usize + place(i) as usize) * width));
    Ok(tensor.taken(&shape, starts.flat_map(|start| start..start + width)))
}

fn slice<'a>(node: &Node<'_>, inputs: &Inputs<'_, 'a>) -> Result<Tensor<'a>, String> {
    let mut tensor = inputs.get(0)?.clone();
    let lists = [list(node, "starts", inputs, 1)?, list(node, "ends", inputs, 2)?, list(node, "axes", inputs, 3)?];
    let [Some(starts), Some(ends), axes] = lists else { return Err("does not say what it takes".into()) };
    let axes = axes.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = match inputs.optional(4) {
        Some(_) => inputs.ints(4)?,
        None => vec![1; starts.len()],
    };
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("has lists of different lengths".into());
    }
    let axes = axes.into_iter().map(|at| axis(at, tensor.shape.len())).collect::<Result<Vec<_>, _>>()?;
    for (i, &at) in axes.iter().enumerate() {
        if axes[..i].contains(&at) {
            return Err(format!("cuts axis {at} twice"));
        }
        let (n, step) = (tensor.shape[at] as i64, steps[i]);
        let place = |at: i64| if at < 0 { at.saturating_add(n) } else { at };
        let all: Vec<i64> = match step {
            0 => return Err("has a step of 0".into()),
            1.. => (place(starts[i]).clamp(0, n)..place(ends[i]).clamp(0, n))
                .step_by(usize::try_from(step).unwrap_or(usize::MAX))
                .collect(),
            _ => {
                let (from, to) = (place(starts[i]).clamp(-1, n - 1), place(ends[i]).clamp(-1, n - 1));
                let step = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
                (to + 1..=from).rev().step_by(step).collect()
            }
        };
        tensor = gather(&tensor, &Tensor::of_ints(&[all.len()], &all), at as i64)?;
    }
    Ok(tensor)
}

/// The shape that all inputs are brought to by repeating sizes of 1.
pub(super) fn common(inputs: &Inputs<'_, '_>) -> Result<Vec<usize>, String> {
    inputs.0.iter().flatten().try_fold(Vec::new(), |shape, tensor| both(&shape, &tensor.shape))
}

fn both(a: &[usize], b: &[usize]) -> Result<Vec<usize>, String> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |at| shape[at]);
    let size = |i: usize| match (at(a, i), at(b, i)) {
        (a, b) if a == b || b == 1 => Ok(a),
        (1, b) => Ok(b),
        _ => Err(format!("takes tensors of the shapes {a:?} and {b:?}, which do not fit")),
    };
    (0..rank).map(size).collect()
}

/// A tensor brought to a shape by repeating sizes of 1, of the tensor's or of the shape's.
pub(super) fn expanded<'a>(tensor: &Tensor<'a>, shape: &[usize]) -> Result<Tensor<'a>, String> {
    let shape = both(&tensor.shape, shape)?;
    match shape == tensor.shape {
        true => Ok(tensor.clone()),
        false => placed(tensor, &shape, |at, from| {
            let skip = at.len() - from.len();
            at[skip..].iter().zip(from).map(|(&at, &n)| if n == 1 { 0 } else { at }).collect()
        }),
    }
}

fn one_hot<'a>(inputs: &Inputs<'_, 'a>, at: i64) -> Result<Tensor<'a>, String> {
    let (indices, values) = (inputs.get(0)?, inputs.get(2)?);
    let depth = inputs.get(1)?.number().filter(|n| (1. ..=MOST as f64).contains(n)).ok_or("has no depth")? as usize;
    let at = axis(at, indices.shape.len() + 1)?;
    let all: Vec<i64> = indices.numbers().iter().map(|&x| x as i64).collect();
    if values.len() != 2 || depth.saturating_mul(all.len()) > MOST {
        return Err(format!("makes {depth} numbers of each of {indices}"));
    }
    let place = |i: i64| if i < 0 { i.saturating_add(depth as i64) } else { i };
    let last: Vec<usize> =
        all.iter().flat_map(|&i| (0..depth).map(move |k| usize::from(place(i) == k as i64))).collect();
    let shape: Vec<usize> = indices.shape.iter().copied().chain([depth]).collect();
    let made = values.taken(&shape, last.into_iter());
    let mut perm: Vec<i64> = (0..indices.shape.len() as i64).collect();
    perm.insert(at, indices.shape.len() as i64);
    transpose(&made, Some(&perm))
}
