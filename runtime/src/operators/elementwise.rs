//! Operators that work on every element by itself.

use super::call::{Call, Made};
use super::{Operator, Typed};
use crate::graph::ElementType;

pub(super) const ALL: &[Operator] = &[
    Operator { name: "Abs", attributes: &[], infer: same },
    Operator { name: "Add", attributes: &[], infer: two },
    Operator { name: "Cast", attributes: &["to"], infer: cast },
    Operator { name: "Ceil", attributes: &[], infer: same },
    Operator { name: "Clip", attributes: &[], infer: clip },
    Operator { name: "Cos", attributes: &[], infer: in_runs },
    Operator { name: "Div", attributes: &[], infer: two },
    Operator { name: "Dropout", attributes: &["seed"], infer: dropout },
    Operator { name: "Elu", attributes: &["alpha"], infer: in_runs },
    Operator { name: "Erf", attributes: &[], infer: same },
    Operator { name: "Exp", attributes: &[], infer: same },
    Operator { name: "Floor", attributes: &[], infer: same },
    Operator { name: "Gelu", attributes: &["approximate"], infer: gelu },
    Operator { name: "HardSigmoid", attributes: &["alpha", "beta"], infer: same },
    Operator { name: "HardSwish", attributes: &[], infer: same },
    Operator { name: "Identity", attributes: &[], infer: identity },
    Operator { name: "LeakyRelu", attributes: &["alpha"], infer: same },
    Operator { name: "Log", attributes: &[], infer: in_runs },
    Operator { name: "Max", attributes: &[], infer: several },
    Operator { name: "Mean", attributes: &[], infer: several },
    Operator { name: "Min", attributes: &[], infer: several },
    Operator { name: "Mul", attributes: &[], infer: two },
    Operator { name: "Neg", attributes: &[], infer: same },
    Operator { name: "PRelu", attributes: &[], infer: prelu },
    Operator { name: "Pow", attributes: &[], infer: two },
    Operator { name: "Reciprocal", attributes: &[], infer: same },
    Operator { name: "Relu", attributes: &[], infer: same },
    Operator { name: "Selu", attributes: &["alpha", "gamma"], infer: in_runs },
    Operator { name: "Sigmoid", attributes: &[], infer: same },
    Operator { name: "Sign", attributes: &[], infer: same },
    Operator { name: "Sin", attributes: &[], infer: in_runs },
    Operator { name: "Softplus", attributes: &[], infer: in_runs },
    Operator { name: "Softsign", attributes: &[], infer: same },
    Operator { name: "Sqrt", attributes: &[], infer: same },
    Operator { name: "Sub", attributes: &[], infer: two },
    Operator { name: "Sum", attributes: &[], infer: several },
    Operator { name: "Tanh", attributes: &[], infer: same },
];

/// One value of numbers, whose shape stays.
fn same(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 1)?;
    for name in ["alpha", "beta", "gamma"] {
        call.float(name)?;
    }
    Made::one(call.floats(0)?.clone())
}

/// Of no effect where nothing is learned; the part that it would drop may be given.
fn dropout(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 2)?;
    call.int("seed", 0)?;
    call.constant(1, ElementType::F32, &[])?;
    Made::one(call.floats(0)?.clone())
}

fn identity(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 1)?;
    Made::one(call.input(0)?.clone())
}

fn gelu(call: &Call<'_>) -> Result<Made, String> {
    call.word("approximate", &["none", "tanh"])?;
    same(call)
}

/// As [`same`], by a function that ONNX Runtime has two forms of: for several elements, and for the last ones.
fn in_runs(call: &Call<'_>) -> Result<Made, String> {
    let made = same(call)?;
    let len = made.outputs[0].sizes.iter().product();
    Ok(made.in_runs(len))
}

/// Two values of numbers. Of integers none are computed: they overflow and divide by 0.
fn two(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 2)?;
    call.floats(0)?;
    Made::one(call.broadcast()?)
}

fn several(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 8)?;
    call.floats(0)?;
    Made::one(call.broadcast()?)
}

/// The slope is brought to the shape of the value, and not the value to that of the slope.
fn prelu(call: &Call<'_>) -> Result<Made, String> {
    let made = two(call)?;
    match made.outputs == [call.input(0)?.clone()] {
        true => Ok(made),
        false => Err(format!("takes {} with the slope {}, which does not fit", call.input(0)?, call.input(1)?)),
    }
}

fn clip(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 3)?;
    let value = call.floats(0)?;
    for bound in [1, 2] {
        call.constant(bound, value.element, &[])?;
    }
    Made::one(value.clone())
}

fn cast(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 1)?;
    let to = call.choice("to", 0, &[ElementType::F32 as i64, ElementType::F16 as i64])?;
    let element = if to == ElementType::F32 as i64 { ElementType::F32 } else { ElementType::F16 };
    Made::one(Typed { element, ..call.input(0)?.clone() })
}
