//! Functions of each element.

use super::launch::{ELEMENTWISE, launch, over};
use super::{Element, Operand, count, done, unwritten, view, with_element};
use candle_core::{CudaStorage, Result, Shape, bail};

/// The function of this number, with its parameter, of the elements at each place of one to three tensors of one shape.
pub(in crate::ops) fn map(op: &str, kind: i32, p: f64, tensors: &[Operand<'_>]) -> Result<(CudaStorage, Shape)> {
    let [first, ..] = tensors else { bail!("{op}: takes one tensor at least") };
    let device = &first.0.device;
    with_element!(op, first.0, T => {
        let views = tensors.iter().map(|&tensor| view::<T>(op, tensor)).collect::<Result<Vec<_>>>()?;
        let n = count(op, views[0].len())?;
        let mut out = unwritten::<T>(device, views[0].len())?;
        let p = <T as Element>::wide(p);
        match (n, &views[..]) {
            (0, _) => (),
            (_, [x]) => launch!(device, ELEMENTWISE, T, "map1", over(n), &mut out, x, &n, &kind, &p),
            (_, [a, g]) => launch!(device, ELEMENTWISE, T, "map2", over(n), &mut out, a, g, &n, &kind, &p),
            (_, [x, a, b]) => launch!(device, ELEMENTWISE, T, "map3", over(n), &mut out, x, a, b, &n, &kind, &p),
            (_, more) => bail!("{op}: takes up to three tensors, got {}", more.len()),
        }
        Ok(done(out, device, first.1.shape()))
    })
}
