//! The maximum mean discrepancy of two clouds of vectors, and its slopes (Gretton et al., "A kernel two-sample test", 2012,
//! equations 3 and 5): `mean k(x, x') + mean k(y, y') - 2 mean k(x, y)`, for kernels that depend on the distance.

use super::Compared;
use candle_core::{D, Result, Tensor, bail};
use std::fmt::Debug;

/// A kernel as a function of the squared distance.
pub trait Kernel: Debug + Sync {
    /// `k(s)` and `k'(s)` for squared distances `s` of any shape.
    ///
    /// # Errors
    /// None but those of the device.
    fn of(&self, squared: &Tensor) -> Result<[Tensor; 2]>;

    /// `k''(s)`.
    ///
    /// # Errors
    /// None but those of the device.
    fn curvature(&self, squared: &Tensor) -> Result<Tensor>;
}

/// Which pairs of a cloud with itself are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pairs {
    /// All, each vector with itself, too: the estimate is never below 0, and too large.
    All,
    /// Those of two: the estimate is right on average, and may be below 0.
    OfTwo,
}

/// The mean of a kernel over pairs, and its gradients with respect to the vectors of both clouds.
pub(super) struct Mean {
    pub value: Tensor,
    pub slopes: [Tensor; 2],
}

/// The mean over all pairs of a vector of `a` [n, k] with one of `b` [m, k].
pub(super) fn across(kernel: &dyn Kernel, [a, b]: [&Tensor; 2]) -> Result<Mean> {
    let count = (a.dim(0)? * b.dim(0)?) as f64;
    mean(kernel, [a, b], count, None)
}

/// The mean over pairs within a cloud [n, k], of whose two slopes the first is all.
pub(super) fn within(kernel: &dyn Kernel, a: &Tensor, pairs: Pairs) -> Result<[Tensor; 2]> {
    let n = a.dim(0)?;
    let Mean { value, slopes: [first, second] } = match pairs {
        Pairs::All => across(kernel, [a, a])?,
        Pairs::OfTwo if n < 2 => {
            bail!("one image makes no pair: training.batch divided by training.micro_batches must be 2")
        }
        Pairs::OfTwo => {
            let others = Tensor::eye(n, a.dtype(), a.device())?.affine(-1., 1.)?;
            mean(kernel, [a, a], (n * (n - 1)) as f64, Some(&others))?
        }
    };
    Ok([value, (first + second)?])
}

fn mean(kernel: &dyn Kernel, [a, b]: [&Tensor; 2], count: f64, counted: Option<&Tensor>) -> Result<Mean> {
    // Around their middle the parts of a squared distance are no larger than need be, and cancel less.
    let middle = a.mean_keepdim(0)?;
    let (a, b) = (a.broadcast_sub(&middle)?, b.broadcast_sub(&middle)?);
    let lengths = [a.sqr()?.sum_keepdim(1)?, b.sqr()?.sum_keepdim(1)?.t()?];
    let products = a.matmul(&b.t()?)?;
    let squared = (lengths[0].broadcast_add(&lengths[1])? - (products * 2.)?)?.relu()?;
    let [mut k, mut slope] = kernel.of(&squared)?;
    if let Some(counted) = counted {
        (k, slope) = ((k * counted)?, (slope * counted)?);
    }
    // Of |a - b|^2 the gradient is 2 (a - b).
    let w = (slope * (2. / count))?;
    let of_a = (w.sum_keepdim(D::Minus1)?.broadcast_mul(&a)? - w.matmul(&b)?)?;
    let of_b = (w.sum_keepdim(0)?.t()?.broadcast_mul(&b)? - w.t()?.matmul(&a)?)?;
    Ok(Mean { value: (k.sum_all()? / count)?, slopes: [of_a, of_b] })
}

/// The squared discrepancy, with slopes.
pub(super) fn squared(kernel: &dyn Kernel, [x, y]: [&Tensor; 2], pairs: Pairs) -> Result<Compared> {
    let ([xx, of_xx], [yy, of_yy]) = (within(kernel, x, pairs)?, within(kernel, y, pairs)?);
    let Mean { value: xy, slopes: [of_x, of_y] } = across(kernel, [x, y])?;
    Ok(Compared { loss: ((xx + yy)? - (xy * 2.)?)?, slopes: [(of_xx - (of_x * 2.)?)?, (of_yy - (of_y * 2.)?)?] })
}

impl Compared {
    /// All of it times a number.
    pub(super) fn times(self, factor: f64) -> Result<Self> {
        let [x, y] = self.slopes;
        Ok(Self { loss: (self.loss * factor)?, slopes: [(x * factor)?, (y * factor)?] })
    }
}
