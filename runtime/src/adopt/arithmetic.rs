//! Arithmetic on constants: element by element, sums of lists, products of vectors.

use super::fold::{Inputs, common, expanded};
use super::source::Node;
use super::tensor::{Kind, Tensor};

/// Operators that are known here.
const KNOWN: [&str; 22] = [
    "Abs",
    "Add",
    "And",
    "Ceil",
    "Div",
    "Equal",
    "Floor",
    "Greater",
    "GreaterOrEqual",
    "Less",
    "LessOrEqual",
    "Max",
    "Min",
    "Mod",
    "Mul",
    "Neg",
    "Not",
    "Or",
    "Pow",
    "Reciprocal",
    "Sqrt",
    "Sub",
];

/// What `node` makes of constants element by element; `None` if that is not known here.
///
/// # Errors
/// Inputs that do not fit, and integers that overflow or are divided by 0.
pub(super) fn computed<'a>(node: &Node<'_>, inputs: &Inputs<'_, 'a>) -> Result<Option<Tensor<'a>>, String> {
    if !KNOWN.contains(&node.op) {
        return Ok(None);
    }
    // Of one or two, before they are repeated to one shape.
    if inputs.0.iter().flatten().count() > 2 {
        return Ok(None);
    }
    let shape = common(inputs)?;
    let all: Vec<Tensor<'a>> =
        inputs.0.iter().flatten().map(|tensor| expanded(tensor, &shape)).collect::<Result<_, _>>()?;
    let Some(kind) = all.first().map(|tensor| tensor.kind) else { return Ok(None) };
    let ints: Option<Vec<Vec<i64>>> = all.iter().map(Tensor::ints).collect();
    let found = match (&all[..], ints.as_deref()) {
        ([_], Some([a])) => one_int(node.op, a).map(|found| (found, kind)),
        ([_, _], Some([a, b])) => two_ints(node.op, a, b, kind)?,
        _ => None,
    };
    if let Some((found, kind)) = found {
        return Ok(Some(Tensor::from_ints(kind, &shape, &found)));
    }
    if !kind.is_float() || all.iter().any(|tensor| !tensor.kind.is_float()) {
        return Ok(None);
    }
    let numbers: Vec<Vec<f64>> = all.iter().map(Tensor::numbers).collect();
    if let [a, b] = &numbers[..] {
        let compare: Option<fn(&f64, &f64) -> bool> = match node.op {
            "Equal" => Some(|a, b| a == b),
            "Greater" => Some(|a, b| a > b),
            "Less" => Some(|a, b| a < b),
            _ => None,
        };
        if let Some(compare) = compare {
            let flags: Vec<i64> = a.iter().zip(b).map(|(a, b)| compare(a, b).into()).collect();
            return Ok(Some(Tensor::from_ints(Kind::Bool, &shape, &flags)));
        }
    }
    let found: Option<Vec<f64>> = match &numbers[..] {
        [a] => one(node.op).map(|op| a.iter().map(|&x| op(x)).collect()),
        [a, b] => two(node.op).map(|op| a.iter().zip(b).map(|(&a, &b)| op(a, b)).collect()),
        _ => None,
    };
    Ok(found.map(|found| Tensor::from_numbers(kind, &shape, &found)))
}

fn one_int(op: &str, a: &[i64]) -> Option<Vec<i64>> {
    let op: fn(i64) -> i64 = match op {
        "Not" => |n| i64::from(n == 0),
        "Neg" => i64::wrapping_neg,
        "Abs" => i64::wrapping_abs,
        _ => return None,
    };
    Some(a.iter().map(|&n| op(n)).collect())
}

/// Integers and their type.
type Ints = Option<(Vec<i64>, Kind)>;

fn two_ints(op: &str, a: &[i64], b: &[i64], kind: Kind) -> Result<Ints, String> {
    let compare: Option<fn(i64, i64) -> bool> = match op {
        "Equal" => Some(|a, b| a == b),
        "Greater" => Some(|a, b| a > b),
        "Less" => Some(|a, b| a < b),
        "GreaterOrEqual" => Some(|a, b| a >= b),
        "LessOrEqual" => Some(|a, b| a <= b),
        "And" => Some(|a, b| a != 0 && b != 0),
        "Or" => Some(|a, b| a != 0 || b != 0),
        _ => None,
    };
    if let Some(compare) = compare {
        return Ok(Some((a.iter().zip(b).map(|(&a, &b)| compare(a, b).into()).collect(), Kind::Bool)));
    }
    let op: fn(i64, i64) -> Option<i64> = match op {
        "Add" => i64::checked_add,
        "Sub" => i64::checked_sub,
        "Mul" => i64::checked_mul,
        // Towards 0, as ONNX Runtime divides; the remainder has the divisor's sign.
        "Div" => i64::checked_div,
        "Mod" => |a, b| a.checked_rem(b)?.checked_add(b)?.checked_rem(b),
        "Min" => |a, b| Some(a.min(b)),
        "Max" => |a, b| Some(a.max(b)),
        _ => return Ok(None),
    };
    let all: Option<Vec<i64>> = a.iter().zip(b).map(|(&a, &b)| op(a, b)).collect();
    Ok(Some((all.ok_or("divides integers by 0, or makes some that are too large")?, kind)))
}

fn one(op: &str) -> Option<fn(f64) -> f64> {
    Some(match op {
        "Abs" => f64::abs,
        "Ceil" => f64::ceil,
        "Floor" => f64::floor,
        "Neg" => |x| -x,
        "Reciprocal" => |x| 1. / x,
        "Sqrt" => f64::sqrt,
        _ => return None,
    })
}

fn two(op: &str) -> Option<fn(f64, f64) -> f64> {
    Some(match op {
        "Add" => |a, b| a + b,
        "Sub" => |a, b| a - b,
        "Mul" => |a, b| a * b,
        "Div" => |a, b| a / b,
        "Min" => f64::min,
        "Max" => f64::max,
        "Pow" => f64::powf,
        _ => return None,
    })
}

/// A list of integers as one number.
pub(super) fn whole<'a>(node: &Node<'_>, tensor: &Tensor<'a>) -> Result<Option<Tensor<'a>>, String> {
    let (Some(all), [_]) = (tensor.ints(), &tensor.shape[..]) else { return Ok(None) };
    let one = match node.op {
        "ReduceProd" => all.iter().try_fold(1i64, |product, &n| product.checked_mul(n)),
        "ReduceSum" => all.iter().try_fold(0i64, |sum, &n| sum.checked_add(n)),
        "ReduceMax" => all.iter().max().copied(),
        _ => all.iter().min().copied(),
    };
    let one = one.ok_or("overflows")?;
    let shape = if node.int("keepdims").unwrap_or(1) == 1 { vec![1] } else { Vec::new() };
    Ok(Some(Tensor::from_ints(tensor.kind, &shape, &[one])))
}

/// A product of a matrix and a vector, or of two vectors, which operators of a generator do not take: spectral norms are
/// made of them.
pub(super) fn product<'a>(a: &Tensor<'a>, b: &Tensor<'a>) -> Result<Option<Tensor<'a>>, String> {
    let (rows, inner, columns) = match (&a.shape[..], &b.shape[..]) {
        (&[n], &[m]) if n == m => (1, n, 1),
        (&[rows, n], &[m]) if n == m => (rows, n, 1),
        (&[n], &[m, columns]) if n == m => (1, n, columns),
        _ => return Ok(None),
    };
    if !a.kind.is_float() || a.kind != b.kind {
        return Ok(None);
    }
    let (left, right) = (a.numbers(), b.numbers());
    let one = |at: usize| (0..inner).map(|k| left[at / columns * inner + k] * right[k * columns + at % columns]).sum();
    let all: Vec<f64> = (0..rows * columns).map(one).collect();
    let shape = [&a.shape[..a.shape.len() - 1], &b.shape[1..]].concat();
    Ok(Some(Tensor::from_numbers(a.kind, &shape, &all)))
}
