//! Dense layers.

use super::epilogue::finish;
use super::gemm::{Matrix, Target, multiply};
use super::{Element, Operand, done, unwritten, view, with_element};
use crate::ops::Activation;
use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::CudaSlice;
use candle_core::{CudaStorage, Result, Shape};

/// `activation(x w' + bias)`; `[m, n, k]` are the checked sizes.
pub(in crate::ops) fn linear(
    [m, n, k]: [usize; 3],
    x: Operand<'_>,
    w: Operand<'_>,
    bias: Operand<'_>,
    activation: Activation,
) -> Result<(CudaStorage, Shape)> {
    let device = &x.0.device;
    with_element!("linear", x.0, T => {
        let mut out = multiplied::<T, T>("linear", device, [m, n, k], (x, false), (w, true))?;
        finish("linear", device, &mut out, bias, n, activation)?;
        Ok(done(out, device, &[m, n][..]))
    })
}

/// The product of two matrices or their transposes, of the operands' type or, where `wide` is set, of the wide one.
pub(in crate::ops) fn product(
    [m, n, k]: [usize; 3],
    a: (Operand<'_>, bool),
    b: (Operand<'_>, bool),
    wide: bool,
) -> Result<(CudaStorage, Shape)> {
    let device = &a.0.0.device;
    with_element!("product", a.0.0, T => {
        if wide {
            Ok(done(multiplied::<T, <T as Element>::Wide>("product", device, [m, n, k], a, b)?, device, &[m, n][..]))
        } else {
            Ok(done(multiplied::<T, T>("product", device, [m, n, k], a, b)?, device, &[m, n][..]))
        }
    })
}

fn multiplied<T: Element, O: Element>(
    op: &str,
    device: &CudaDevice,
    [m, n, k]: [usize; 3],
    (a, a_transposed): (Operand<'_>, bool),
    (b, b_transposed): (Operand<'_>, bool),
) -> Result<CudaSlice<O>> {
    if m * n * k == 0 {
        return device.alloc_zeros::<O>(m * n);
    }
    let mut out = unwritten::<O>(device, m * n)?;
    let (a_values, b_values) = (view::<T>(op, a)?, view::<T>(op, b)?);
    let left =
        Matrix { values: &a_values, start: 0, stride: if a_transposed { m } else { k }, transposed: a_transposed };
    let right =
        Matrix { values: &b_values, start: 0, stride: if b_transposed { k } else { n }, transposed: b_transposed };
    multiply(device, [m, n, k], left, right, Target { values: &mut out, start: 0, stride: n, add: false })?;
    Ok(out)
}
