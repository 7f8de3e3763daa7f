//! Functions of each element.

use super::launch::{ELEMENTWISE, launch, over};
use super::{Element, Operand, count, done, unwritten, view, with_element};
use candle_core::{CudaStorage, Result, Shape, bail};

/// The function of this number, with its parameter, of each element of `x`.
pub(in crate::ops) fn unary(op: &str, kind: i32, p: f64, x: Operand<'_>) -> Result<(CudaStorage, Shape)> {
    let device = &x.0.device;
    with_element!(op, x.0, T => {
        let from = view::<T>(op, x)?;
        let n = count(op, from.len())?;
        let mut out = unwritten::<T>(device, from.len())?;
        let p = <T as Element>::wide(p);
        if n > 0 {
            launch!(device, ELEMENTWISE, T, "unary", over(n), &mut out, &from, &n, &kind, &p);
        }
        Ok(done(out, device, x.1.shape()))
    })
}

/// The function of this number, with its parameter, of each pair of elements of `a` and `g`.
pub(in crate::ops) fn binary(
    op: &str,
    kind: i32,
    p: f64,
    a: Operand<'_>,
    g: Operand<'_>,
) -> Result<(CudaStorage, Shape)> {
    if a.1.shape() != g.1.shape() {
        bail!("{op}: takes tensors of one shape, got {:?} and {:?}", a.1.dims(), g.1.dims())
    }
    let device = &a.0.device;
    with_element!(op, a.0, T => {
        let (va, vg) = (view::<T>(op, a)?, view::<T>(op, g)?);
        let n = count(op, va.len())?;
        let mut out = unwritten::<T>(device, va.len())?;
        let p = <T as Element>::wide(p);
        if n > 0 {
            launch!(device, ELEMENTWISE, T, "binary", over(n), &mut out, &va, &vg, &n, &kind, &p);
        }
        Ok(done(out, device, a.1.shape()))
    })
}
