//! Sums over axes, and what is divided by them.

use super::call::{Call, Made};
use super::{Alike, Operator, Typed};

pub(super) const ALL: &[Operator] = &[
    Operator { name: "BatchNormalization", attributes: &["epsilon", "momentum", "training_mode"], infer: batch_norm },
    Operator { name: "InstanceNormalization", attributes: &["epsilon"], infer: instance_norm },
    Operator { name: "LayerNormalization", attributes: &["axis", "epsilon", "stash_type"], infer: layer_norm },
    Operator { name: "LogSoftmax", attributes: &["axis"], infer: softmax },
    Operator { name: "LpNormalization", attributes: &["axis", "p"], infer: lp_norm },
    Operator { name: "ReduceL1", attributes: REDUCE, infer: reduce },
    Operator { name: "ReduceL2", attributes: REDUCE, infer: reduce },
    Operator { name: "ReduceMax", attributes: REDUCE, infer: reduce },
    Operator { name: "ReduceMean", attributes: REDUCE, infer: reduce },
    Operator { name: "ReduceMin", attributes: REDUCE, infer: reduce },
    Operator { name: "ReduceSum", attributes: REDUCE, infer: reduce },
    Operator { name: "ReduceSumSquare", attributes: REDUCE, infer: reduce },
    Operator { name: "Softmax", attributes: &["axis"], infer: softmax },
];

const REDUCE: &[&str] = &["axes", "keepdims", "noop_with_empty_axes"];

fn reduce(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 2)?;
    let value = call.floats(0)?;
    let keep = call.choice("keepdims", 1, &[0, 1])? == 1;
    call.choice("noop_with_empty_axes", 0, &[0])?;
    // An attribute until one version of each, an input after it.
    let as_input = call.opset >= if call.is("ReduceSum") { 13 } else { 18 };
    let axes = match (call.numbers(1)?, call.ints("axes")?) {
        (Some(axes), None) if as_input => axes,
        (None, Some(axes)) if !as_input => axes.to_vec(),
        (None, None) => Vec::new(),
        _ => return Err(format!("has its axes as operators of version {} have not", call.opset)),
    };
    let axes = match axes.is_empty() {
        true if value.per_sample => return Err("works along all axes, which would mix samples".into()),
        true => (0..value.sizes.len()).collect(),
        false => call.axes(value, &axes)?,
    };
    let left = value.sizes.iter().enumerate().filter_map(|(i, &n)| match (axes.contains(&i), keep) {
        (false, _) => Some(n),
        (true, true) => Some(1),
        (true, false) => None,
    });
    let made = Typed { sizes: left.collect(), ..value.clone() };
    let work = super::call::volume(&value.sizes).unwrap_or(usize::MAX) as u64;
    Ok(Made { outputs: vec![made], products: work, scratch: 0, alike: Alike::Alone })
}

fn softmax(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 1)?;
    let value = call.floats(0)?;
    call.axis(value, call.int("axis", -1)?)?;
    Made::one(value.clone())
}

fn lp_norm(call: &Call<'_>) -> Result<Made, String> {
    call.choice("p", 2, &[1, 2])?;
    softmax(call).map(Made::alone)
}

/// The channels of a value that has a place for each, and its shape.
fn channels<'c>(call: &Call<'c>, least: usize) -> Result<(&'c Typed, usize), String> {
    let value = call.floats(0)?;
    match (value.per_sample, value.sizes.first()) {
        (true, Some(&channels)) if value.rank() >= least => Ok((value, channels)),
        _ => Err(format!("takes {value}, which must be [N, channels, ...]")),
    }
}

fn batch_norm(call: &Call<'_>) -> Result<Made, String> {
    call.takes(5, 5)?;
    call.choice("training_mode", 0, &[0])?;
    call.float("epsilon")?;
    call.float("momentum")?;
    let (value, channels) = channels(call, 2)?;
    for i in 1..5 {
        call.input(i)?;
        call.constant(i, value.element, &[channels])?;
    }
    Made::one(value.clone())
}

fn instance_norm(call: &Call<'_>) -> Result<Made, String> {
    call.takes(3, 3)?;
    call.float("epsilon")?;
    let (value, channels) = channels(call, 3)?;
    for i in 1..3 {
        call.input(i)?;
        call.constant(i, value.element, &[channels])?;
    }
    Ok(Made::one(value.clone())?.in_runs(value.sizes[1..].iter().product()))
}

fn layer_norm(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 3)?;
    call.float("epsilon")?;
    call.choice("stash_type", 1, &[1])?;
    let value = call.floats(0)?;
    let axis = call.axis(value, call.int("axis", -1)?)?;
    call.input(1)?;
    for i in 1..3 {
        call.constant(i, value.element, &value.sizes[axis..])?;
    }
    Made::one(value.clone())
}
