//! What convolutions and transposed ones have in common as ONNX.

use crate::onnx::{Attribute, Edge, Onnx};
use crate::ops::{Activation, Geometry};
use candle_core::{Result, bail};

/// A node with a kernel, whose weight has its last axis behind the first in the file, and the activation after it.
pub(super) fn emit(
    onnx: &mut Onnx,
    op: &str,
    from: &[Edge],
    geometry: Geometry,
    activation: Activation,
    shape: impl Fn(&[usize], &[usize]) -> Option<Vec<usize>>,
) -> Result<Edge> {
    let (x, sample) = from[0].computed()?;
    let (name, weight) = from[1].constant()?;
    let Some(made) = shape(sample, weight.dims()) else {
        bail!("{op}: {sample:?} does not fit {:?} with {geometry:?}", weight.dims())
    };
    let axes = weight.rank() - 2;
    let turned: Vec<usize> = [0, axes + 1].into_iter().chain(1..=axes).collect();
    let mut inputs = vec![x.to_owned(), onnx.weight(name, weight.permute(turned)?.contiguous()?)];
    if let Some(bias) = from.get(2) {
        let (name, bias) = bias.constant()?;
        inputs.push(onnx.weight(name, bias.clone()));
    }
    let ints = |name: &str, values: &[usize]| Attribute::ints(name, values.iter().map(|&v| v as i64).collect());
    let [stride, padding] = [geometry.stride, geometry.padding].map(|all| all[3 - axes..].to_vec());
    let attributes = vec![
        ints("kernel_shape", &weight.dims()[1..=axes]),
        ints("strides", &stride),
        // Explicit, the same on both sides: what automatic padding means differs between engines.
        ints("pads", &padding.repeat(2)),
        Attribute::int("group", geometry.groups as i64),
    ];
    let made = onnx.apply(op, inputs, attributes, made);
    onnx.activation(made, activation)
}
