//! Products of matrices.

use super::Operator;
use super::Typed;
use super::call::{Call, Made};

pub(super) const ALL: &[Operator] = &[
    Operator { name: "Gemm", attributes: &["alpha", "beta", "transA", "transB"], infer: gemm },
    Operator { name: "MatMul", attributes: &[], infer: matmul },
];

fn gemm(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 3)?;
    call.float("alpha")?;
    call.float("beta")?;
    let turned = |name| call.choice(name, 0, &[0, 1]).map(|n| n == 1);
    let (turn_a, turn_b) = (turned("transA")?, turned("transB")?);
    let (a, b) = (call.floats(0)?, call.floats(1)?);
    let wrong = || format!("takes {a} and {b}, which do not fit");
    if a.rank() != 2 || b.rank() != 2 || b.per_sample || a.element != b.element {
        return Err(wrong());
    }
    let (k, n) = if turn_b { (b.sizes[1], b.sizes[0]) } else { (b.sizes[0], b.sizes[1]) };
    let (rows, inner) = match (a.per_sample, turn_a) {
        (true, true) => return Err("turns its samples, which would mix them".into()),
        (true, false) => (None, a.sizes[0]),
        (false, true) => (Some(a.sizes[1]), a.sizes[0]),
        (false, false) => (Some(a.sizes[0]), a.sizes[1]),
    };
    if inner != k {
        return Err(wrong());
    }
    if let Some(c) = call.optional(2) {
        let fits = |own: usize, size: usize| own == 1 || own == size;
        let fits = match (&c.sizes[..], c.per_sample, rows) {
            _ if c.element != a.element => false,
            ([own], true, None) => fits(*own, n),
            ([], false, _) => true,
            ([own], false, _) => fits(*own, n),
            ([first, own], false, rows) => fits(*first, rows.unwrap_or(1)) && fits(*own, n),
            _ => false,
        };
        if !fits {
            return Err(format!("adds {c} to a product [{}, {n}]", rows.map_or("N".into(), |n| n.to_string())));
        }
    }
    let sizes = rows.into_iter().chain([n]).collect();
    Made::product(Typed { element: a.element, per_sample: a.per_sample, sizes }, Some(k), 0)
}

fn matmul(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 2)?;
    let (a, b) = (call.floats(0)?, call.floats(1)?);
    let wrong = || format!("takes {a} and {b}, which do not fit");
    let per_sample = a.per_sample || b.per_sample;
    // The last two axes are the matrices, the others are brought to one shape; of a matrix [N, k] samples are the rows.
    if a.rank() < 2 || b.rank() < 2 || a.element != b.element || (b.per_sample && b.rank() < 3) {
        return Err(wrong());
    }
    let whole = |value: &Typed| -> Vec<Option<usize>> {
        value.per_sample.then_some(None).into_iter().chain(value.sizes.iter().map(|&n| Some(n))).collect()
    };
    let (left, right) = (whole(a), whole(b));
    let (left_rest, left_matrix) = left.split_at(left.len() - 2);
    let (right_rest, right_matrix) = right.split_at(right.len() - 2);
    let inner = left_matrix[1].filter(|_| left_matrix[1] == right_matrix[0]).ok_or_else(wrong)?;
    let rank = left_rest.len().max(right_rest.len());
    let mut sizes = Vec::new();
    for i in 0..rank {
        let of = |rest: &[Option<usize>]| (i + rest.len()).checked_sub(rank).map_or(Some(1), |at| rest[at]);
        sizes.push(match (of(left_rest), of(right_rest)) {
            (a, b) if a == b => a,
            (Some(1), other) | (other, Some(1)) => other,
            _ => return Err(wrong()),
        });
    }
    sizes.extend([left_matrix[0], right_matrix[1]]);
    let open = sizes.iter().filter(|size| size.is_none()).count();
    if open != usize::from(per_sample) || (per_sample && sizes[0].is_some()) {
        return Err(wrong());
    }
    let sizes = sizes.into_iter().flatten().collect();
    let made = Made::product(Typed { element: a.element, per_sample, sizes }, Some(inner), 0)?;
    // What is more than a matrix is not arranged beforehand, but may be used as one: then one row is computed in another
    // way.
    Ok(if !b.per_sample && b.rank() > 2 { made.alone() } else { made })
}
