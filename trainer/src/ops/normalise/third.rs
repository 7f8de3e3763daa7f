//! The derivative that has no kernel.

use super::Norm;
use candle_core::{Result, Tensor};

impl Norm {
    /// The derivative of `k.S(p, h)` with respect to `x`, by the product rule.
    pub(super) fn third(&self, x: &Tensor, arguments: [&Tensor; 3]) -> Result<Tensor> {
        let frame = self.frame(x.shape())?;
        let n = frame.count();
        let view = |t: &Tensor| t.reshape((frame.samples, frame.rows, frame.groups, frame.channels / frame.groups));
        let dot = |a: &Tensor, b: &Tensor| (a * b)?.sum_keepdim((1, 3));
        let centre = |t: &Tensor| match frame.centred {
            true => t.broadcast_sub(&(t.sum_keepdim((1, 3))? / n)?),
            false => Ok(t.clone()),
        };
        let deviation = centre(&view(x)?)?;
        let s = ((dot(&deviation, &deviation)? / n)? + frame.eps)?.sqrt()?.recip()?;
        let factor = (&s * (-1. / n))?;
        let u = deviation.broadcast_mul(&s)?;
        // Of each argument: itself, its product with `u`, and `N` of it.
        let parts = |g: &Tensor| -> Result<[Tensor; 3]> {
            let g = view(g)?;
            let product = dot(&g, &u)?;
            let first = centre(&g)?.sub(&u.broadcast_mul(&(&product / n)?)?)?.broadcast_mul(&s)?;
            Ok([g, product, first])
        };
        let [a, b, c] = arguments;
        let parts = [parts(a)?, parts(b)?, parts(c)?];
        // k.S(p, h) = factor * whole, with whole = (k.u) (h.N(p)) + (h.u) (p.N(k)) + (p.u) (k.N(h)).
        let (mut whole, mut whole_grad) = (s.zeros_like()?, u.zeros_like()?);
        for i in 0..3 {
            let [[a, a_u, a_first], [_, b_u, b_first], [_, c_u, c_first]] =
                [&parts[i], &parts[(i + 1) % 3], &parts[(i + 2) % 3]];
            let pair = dot(a, b_first)?;
            let pair_grad = (u.broadcast_mul(&pair)? + a_first.broadcast_mul(b_u)?)?;
            let pair_grad = (pair_grad + b_first.broadcast_mul(a_u)?)?.broadcast_mul(&factor)?;
            whole = (whole + (c_u * &pair)?)?;
            whole_grad = (whole_grad + c_first.broadcast_mul(&pair)?)?;
            whole_grad = (whole_grad + pair_grad.broadcast_mul(c_u)?)?;
        }
        let factor_grad = u.broadcast_mul(&(&factor * whole)?)?;
        (whole_grad + factor_grad)?.broadcast_mul(&factor)?.reshape(x.shape())
    }
}
