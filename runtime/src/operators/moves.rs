//! Operators that move elements and compute nothing.

use super::call::{Call, Made, volume};
use super::{Operator, Typed};
use crate::graph::ElementType;

pub(super) const ALL: &[Operator] = &[
    Operator { name: "Concat", attributes: &["axis"], infer: concat },
    Operator { name: "DepthToSpace", attributes: &["blocksize", "mode"], infer: depth_to_space },
    Operator { name: "Expand", attributes: &[], infer: expand },
    Operator { name: "Flatten", attributes: &["axis"], infer: flatten },
    Operator { name: "Gather", attributes: &["axis"], infer: gather },
    Operator { name: "Pad", attributes: &["mode"], infer: pad },
    Operator { name: "Reshape", attributes: &["allowzero"], infer: reshape },
    Operator { name: "Slice", attributes: &[], infer: slice },
    Operator { name: "SpaceToDepth", attributes: &["blocksize"], infer: space_to_depth },
    Operator { name: "Split", attributes: &["axis", "num_outputs"], infer: split },
    Operator { name: "Squeeze", attributes: &[], infer: squeeze },
    Operator { name: "Tile", attributes: &[], infer: tile },
    Operator { name: "Transpose", attributes: &["perm"], infer: transpose },
    Operator { name: "Unsqueeze", attributes: &[], infer: unsqueeze },
];

/// A value of other sizes.
fn of(value: &Typed, sizes: Vec<usize>) -> Result<Made, String> {
    Made::one(Typed { sizes, ..value.clone() })
}

/// A list of integers that must be in the file.
fn needed(call: &Call<'_>, i: usize) -> Result<Vec<i64>, String> {
    match call.input(i)?.sizes.len() {
        1 => call.numbers(i)?.ok_or_else(|| format!("lacks its input {i}")),
        _ => Err(format!("takes {} as input {i}, which must be a list", call.input(i)?)),
    }
}

/// A list with a number for each axis of `value`, of which the one for the samples, where there are any, must be `first`.
fn for_axes(value: &Typed, mut all: Vec<i64>, first: i64, what: &str) -> Result<Vec<usize>, String> {
    let wrong = format!("has the {what} {all:?} for {value}");
    if all.len() != value.rank() || (value.per_sample && all.remove(0) != first) {
        return Err(wrong);
    }
    all.into_iter().map(|n| usize::try_from(n).ok()).collect::<Option<_>>().ok_or(wrong)
}

fn reshape(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 2)?;
    let value = call.input(0)?;
    let target = needed(call, 1)?;
    // Empty values are refused anyway: it makes no difference where there is no 0.
    call.choice("allowzero", 0, if target.contains(&0) { &[0] } else { &[0, 1] })?;
    let wrong = || format!("brings {value} to the shape {target:?}, which mixes samples or has other elements");
    let (rest, open) = match (value.per_sample, target.split_first()) {
        // With -1 the number of samples is what is left, and all else must be said; with 0 it stays.
        (true, Some((-1, rest))) => (rest, false),
        (true, Some((0, rest))) => (rest, true),
        (true, _) => return Err(wrong()),
        (false, _) => (&target[..], true),
    };
    let mut sizes = Vec::new();
    for (i, &n) in rest.iter().enumerate() {
        sizes.push(match n {
            -1 if open => 0,
            0 => *value.sizes.get(i).ok_or_else(wrong)?,
            n => usize::try_from(n).map_err(|_| wrong())?,
        });
    }
    let whole = volume(&value.sizes).ok_or_else(wrong)?;
    let unknown: Vec<usize> = (0..sizes.len()).filter(|&i| sizes[i] == 0).collect();
    if let [at] = unknown[..] {
        sizes[at] = 1;
        let known = volume(&sizes).filter(|n| *n > 0 && whole.is_multiple_of(*n)).ok_or_else(wrong)?;
        sizes[at] = whole / known;
    }
    match volume(&sizes) == Some(whole) {
        true => of(value, sizes),
        false => Err(wrong()),
    }
}

fn flatten(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 1)?;
    let value = call.input(0)?;
    match (call.int("axis", 1)?, value.per_sample) {
        (1, true) => of(value, vec![volume(&value.sizes).ok_or("makes a value of impossible size")?]),
        (axis, _) => Err(format!("flattens {value} at axis {axis}, allowed is 1 for a value of each sample")),
    }
}

fn squeeze(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 2)?;
    let value = call.input(0)?;
    let axes = call.numbers(1)?.ok_or("must say which axes it takes away")?;
    let axes = call.axes(value, &axes)?;
    if axes.iter().any(|&axis| value.sizes[axis] != 1) {
        return Err(format!("takes axes away from {value} that are not of size 1"));
    }
    let left = value.sizes.iter().enumerate().filter(|(i, _)| !axes.contains(i));
    of(value, left.map(|(_, &n)| n).collect())
}

fn unsqueeze(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 2)?;
    let value = call.input(0)?;
    let axes = needed(call, 1)?;
    if axes.len() > crate::graph::MAX_RANK {
        return Err("makes too many axes".into());
    }
    // Axes are counted in what is made.
    let shape = Typed { sizes: vec![1; value.sizes.len() + axes.len()], ..value.clone() };
    let axes = call.axes(&shape, &axes)?;
    let mut old = value.sizes.iter();
    let sizes = (0..shape.sizes.len()).map(|i| if axes.contains(&i) { 1 } else { *old.next().unwrap_or(&1) });
    of(value, sizes.collect())
}

fn transpose(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 1)?;
    let value = call.input(0)?;
    let backwards: Vec<i64> = (0..value.rank() as i64).rev().collect();
    let order = call.ints("perm")?.unwrap_or(&backwards);
    let wrong = || format!("moves the axes of {value} to {order:?}, which mixes samples or is no order of them");
    let rest = match (value.per_sample, order.split_first()) {
        (true, Some((0, rest))) => rest,
        (true, _) => return Err(wrong()),
        (false, _) => order,
    };
    let axes = call.axes(value, rest).map_err(|_| wrong())?;
    match axes.len() == value.sizes.len() {
        true => of(value, axes.into_iter().map(|axis| value.sizes[axis]).collect()),
        false => Err(wrong()),
    }
}

fn concat(call: &Call<'_>) -> Result<Made, String> {
    let first = call.input(0)?;
    let axis = call.axis(first, call.int("axis", i64::MAX)?)?;
    let mut made = first.clone();
    for i in 1..call.len() {
        let other = call.input(i)?;
        let mut like = Typed { sizes: other.sizes.clone(), ..first.clone() };
        let own = *like.sizes.get(axis).ok_or("joins values that do not fit")?;
        like.sizes[axis] = first.sizes[axis];
        if like != *first || other.element != first.element || other.per_sample != first.per_sample {
            return Err(format!("joins {first} and {other}, which do not fit"));
        }
        made.sizes[axis] = made.sizes[axis].checked_add(own).ok_or("makes a value of impossible size")?;
    }
    Made::one(made)
}

fn split(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 2)?;
    let value = call.input(0)?;
    let axis = call.axis(value, call.int("axis", 0)?)?;
    let (whole, parts) = (value.sizes[axis], call.gives());
    // Until one version sizes may simply be left out, after it the number of parts takes their place.
    let counted = call.int("num_outputs", 0)? != 0;
    if counted != (call.opset >= 18 && call.optional(1).is_none()) {
        return Err(format!("says how it splits {value} as operators of version {} do not", call.opset));
    }
    let sizes = match call.numbers(1)? {
        Some(sizes) => sizes.iter().map(|&n| usize::try_from(n).unwrap_or(0)).collect(),
        None if whole.is_multiple_of(parts.max(1)) => vec![whole / parts.max(1); parts],
        None => return Err(format!("splits {value} into {parts} unequal parts")),
    };
    let sum = sizes.iter().try_fold(0usize, |sum: usize, &n| sum.checked_add(n));
    if sum != Some(whole) || sizes.len() != parts || call.int("num_outputs", parts as i64)? != parts as i64 {
        return Err(format!("splits {value} into {parts} values of the sizes {sizes:?}"));
    }
    let part = |n: usize| {
        let mut part = value.clone();
        part.sizes[axis] = n;
        part
    };
    Ok(Made::all(sizes.into_iter().map(part).collect()))
}

fn slice(call: &Call<'_>) -> Result<Made, String> {
    call.takes(3, 5)?;
    let value = call.input(0)?;
    let (starts, ends) = (needed(call, 1)?, needed(call, 2)?);
    let axes = call.numbers(3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = call.numbers(4)?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        return Err("has lists of different lengths".into());
    }
    let mut sizes = value.sizes.clone();
    for (i, axis) in call.axes(value, &axes)?.into_iter().enumerate() {
        let n = value.sizes[axis] as i128;
        let (step, place) = (i128::from(steps[i]), |at: i64| if at < 0 { i128::from(at) + n } else { i128::from(at) });
        let count = match step {
            1.. => place(ends[i]).clamp(0, n) - place(starts[i]).clamp(0, n),
            0 => return Err("has a step of 0".into()),
            _ => place(starts[i]).clamp(0, n - 1) - place(ends[i]).clamp(-1, n - 1),
        };
        let count = count.max(0) as u128;
        sizes[axis] = count.div_ceil(step.unsigned_abs()) as usize;
    }
    of(value, sizes)
}

fn gather(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 2)?;
    let (data, indices) = (call.input(0)?, call.input(1)?);
    let axis = call.axis(data, call.int("axis", 0)?)?;
    if indices.element != ElementType::I64 {
        return Err(format!("takes {indices} as indices, which must be i64"));
    }
    match (data.per_sample, indices.per_sample) {
        (true, true) => return Err("takes rows of each sample by indices of each sample, which is not allowed".into()),
        (false, true) if axis != 0 => {
            return Err(format!("takes rows along axis {axis} for each sample, allowed is 0"));
        }
        (_, true) => (),
        (_, false) => {
            let (n, all) = (data.sizes[axis] as i64, call.numbers(1)?.unwrap_or_default());
            if let Some(wrong) = all.iter().find(|index| !(-n..n).contains(*index)) {
                return Err(format!("takes row {wrong} of {n}"));
            }
        }
    }
    let (before, after) = data.sizes.split_at(axis);
    let sizes = before.iter().chain(&indices.sizes).chain(&after[1..]).copied().collect();
    Made::one(Typed { element: data.element, per_sample: data.per_sample || indices.per_sample, sizes })
}

fn expand(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 2)?;
    let value = call.input(0)?;
    let target = needed(call, 1)?;
    let wrong = || format!("expands {value} to {target:?}, which does not fit");
    if value.per_sample && target.len() != value.rank() {
        return Err(wrong());
    }
    let target = match value.per_sample {
        true => for_axes(value, target.clone(), 1, "shape")?,
        false => target.iter().map(|&n| usize::try_from(n).ok()).collect::<Option<Vec<_>>>().ok_or_else(wrong)?,
    };
    let rank = target.len().max(value.sizes.len());
    let at = |sizes: &[usize], i: usize| (i + sizes.len()).checked_sub(rank).map_or(1, |at| sizes[at]);
    let both = |i: usize| match (at(&value.sizes, i), at(&target, i)) {
        (a, b) if a == b || b == 1 => Ok(a),
        (1, b) => Ok(b),
        _ => Err(wrong()),
    };
    of(value, (0..rank).map(both).collect::<Result<_, _>>()?)
}

fn tile(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 2)?;
    let value = call.input(0)?;
    let repeats = for_axes(value, needed(call, 1)?, 1, "repeats")?;
    let sizes = value.sizes.iter().zip(repeats).map(|(n, times)| n.checked_mul(times));
    of(value, sizes.collect::<Option<_>>().ok_or("makes a value of impossible size")?)
}

fn pad(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 3)?;
    let value = call.floats(0)?;
    call.constant(2, value.element, &[])?;
    let mode = call.word("mode", &["constant", "reflect", "edge"])?;
    let pads = needed(call, 1)?;
    let wrong = || format!("pads {value} by {pads:?}, which does not fit");
    if pads.len() != 2 * value.rank() {
        return Err(wrong());
    }
    let (begin, end) = pads.split_at(value.rank());
    let (begin, end) = (for_axes(value, begin.to_vec(), 0, "pads")?, for_axes(value, end.to_vec(), 0, "pads")?);
    let mut sizes = value.sizes.clone();
    for ((size, a), b) in sizes.iter_mut().zip(begin).zip(end) {
        if mode == "reflect" && a.max(b) >= *size {
            return Err(wrong());
        }
        *size = size.checked_add(a).and_then(|n| n.checked_add(b)).ok_or_else(wrong)?;
    }
    of(value, sizes)
}

/// The side of the blocks of a value [N, C, H, W].
fn blocks<'c>(call: &Call<'c>) -> Result<(&'c Typed, [usize; 3], usize), String> {
    call.takes(1, 1)?;
    let value = call.floats(0)?;
    let side = usize::try_from(call.int("blocksize", 0)?).ok().filter(|n| (1..=1024).contains(n));
    let side = side.ok_or("has a blocksize that is not 1 to 1024")?;
    match (value.per_sample, &value.sizes[..]) {
        (true, &[c, h, w]) => Ok((value, [c, h, w], side)),
        _ => Err(format!("takes {value}, which must be [N, C, H, W]")),
    }
}

fn depth_to_space(call: &Call<'_>) -> Result<Made, String> {
    call.word("mode", &["DCR", "CRD"])?;
    let (value, [c, h, w], side) = blocks(call)?;
    match c.is_multiple_of(side * side) {
        true => of(value, vec![c / (side * side), h.saturating_mul(side), w.saturating_mul(side)]),
        false => Err(format!("has blocks of {side} x {side} for {c} channels")),
    }
}

fn space_to_depth(call: &Call<'_>) -> Result<Made, String> {
    let (value, [c, h, w], side) = blocks(call)?;
    match h.is_multiple_of(side) && w.is_multiple_of(side) {
        true => of(value, vec![c.saturating_mul(side * side), h / side, w / side]),
        false => Err(format!("has blocks of {side} x {side} for {value}")),
    }
}
