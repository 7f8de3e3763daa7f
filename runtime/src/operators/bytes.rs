//! Numbers as bytes and back; what is computed of bytes is in `windows`.

use super::call::{Call, Made};
use super::{Operator, Typed};
use crate::graph::ElementType;

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
        ElementType::F32 => Made::one(Typed { element: ElementType::U8, ..value.clone() }),
        _ => Err(format!("takes {value}, allowed is f32")),
    }
}

/// Bytes as numbers.
fn dequantise(call: &Call<'_>) -> Result<Made, String> {
    call.takes(3, 3)?;
    let value = call.input(0)?;
    scale_and_zero(call)?;
    match value.element {
        ElementType::U8 => Made::one(Typed { element: ElementType::F32, ..value.clone() }),
        _ => Err(format!("takes {value}, allowed is u8")),
    }
}

fn scale_and_zero(call: &Call<'_>) -> Result<(), String> {
    // Of one number it makes no difference.
    call.int("axis", 1)?;
    call.constant(1, ElementType::F32, &[])?;
    call.constant(2, ElementType::U8, &[])
}
