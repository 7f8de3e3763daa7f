//! Numbers as bytes and back; what is computed of bytes is in `windows`.

use super::call::{Call, Made};
use super::{Operator, Typed};
use crate::graph::Element;

pub(super) const ALL: &[Operator] = &[
    Operator { name: "DequantizeLinear", attributes: &["axis"], infer: dequantise },
    Operator { name: "QuantizeLinear", attributes: &["axis"], infer: quantise },
];

/// Numbers as bytes, by one scale and zero for all of them.
fn quantise(call: &Call<'_>) -> Result<Made, String> {
    call.takes(3, 3)?;
    let value = call.input(0)?;
    scale_and_zero(call)?;
    match value.element {
        Element::F32 => Made::one(Typed { element: Element::U8, ..value.clone() }),
        _ => Err(format!("takes {value}, allowed is f32")),
    }
}

/// Bytes as numbers.
fn dequantise(call: &Call<'_>) -> Result<Made, String> {
    call.takes(3, 3)?;
    let value = call.input(0)?;
    scale_and_zero(call)?;
    match value.element {
        Element::U8 => Made::one(Typed { element: Element::F32, ..value.clone() }),
        _ => Err(format!("takes {value}, allowed is u8")),
    }
}

fn scale_and_zero(call: &Call<'_>) -> Result<(), String> {
    // Of one number it makes no difference.
    call.int("axis", 1)?;
    call.constant(1, Element::F32, &[])?;
    call.constant(2, Element::U8, &[])
}
