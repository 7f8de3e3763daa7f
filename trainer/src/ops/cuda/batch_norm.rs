//! Batch normalisation with the statistics of the batch, and the activation that follows it.

use super::channel::{WHOLE, partials, shares};
use super::launch::{CHANNEL, THREADS, blocks, launch, over};
use super::{Element, Operand, activation_code, count, done, unwritten, view, with_element};
use crate::ops::Activation;
use candle_core::{CudaStorage, Result, Shape};

const OP: &str = "batch-norm";

/// The result, and the statistics [2, C] that it used.
pub(in crate::ops) fn batch_norm_forward(
    x: Operand<'_>,
    gamma: Operand<'_>,
    beta: Operand<'_>,
    eps: f64,
    activation: Activation,
) -> Result<((CudaStorage, Shape), (CudaStorage, Shape))> {
    let device = &x.0.device;
    with_element!(OP, x.0, T => {
        type W = <T as Element>::Wide;
        let (values, gamma, beta) = (view::<T>(OP, x)?, view::<W>(OP, gamma)?, view::<W>(OP, beta)?);
        let channels = gamma.len();
        let (n, c, rows) = (count(OP, values.len())?, count(OP, channels)?, count(OP, values.len() / channels)?);
        let mut out = unwritten::<T>(device, values.len())?;
        let mut statistics = device.alloc_zeros::<f64>(2 * channels)?;
        if n > 0 {
            let (by_rows, by_channels) = shares(rows as usize, channels);
            let mut partial = partials(device, by_rows, channels)?;
            launch!(device, CHANNEL, T, "moments_partial", blocks((by_rows, by_channels), THREADS), &mut partial, &values, &rows, &c);
            let mut affine = unwritten::<W>(device, 2 * channels)?;
            launch!(
                device, CHANNEL, T, "moments_whole", blocks((c, 1), WHOLE),
                &mut statistics, &mut affine, &partial, &values, &gamma, &beta, &eps, &by_rows, &rows, &c,
            );
            let (code, slope) = activation_code(activation);
            let slope = <T as Element>::wide(slope);
            launch!(device, CHANNEL, T, "norm_apply", over(n), &mut out, &values, &affine, &code, &slope, &n, &c);
        }
        Ok((done(out, device, x.1.shape()), done(statistics, device, &[2, channels][..])))
    })
}

/// The gradients of `x`, gamma and beta from that of the result; none of the tensors is empty.
pub(in crate::ops) fn batch_norm_backward(
    x: Operand<'_>,
    gamma: Operand<'_>,
    beta: Operand<'_>,
    grad: Operand<'_>,
    statistics: Operand<'_>,
    eps: f64,
    activation: Activation,
) -> Result<[(CudaStorage, Shape); 3]> {
    let device = &x.0.device;
    with_element!(OP, x.0, T => {
        type W = <T as Element>::Wide;
        let (values, g, statistics) = (view::<T>(OP, x)?, view::<T>(OP, grad)?, view::<f64>(OP, statistics)?);
        let (gamma, beta) = (view::<W>(OP, gamma)?, view::<W>(OP, beta)?);
        let channels = gamma.len();
        let (n, c, rows) = (count(OP, values.len())?, count(OP, channels)?, count(OP, values.len() / channels)?);
        let (code, slope) = activation_code(activation);
        let slope = <T as Element>::wide(slope);
        let (by_rows, by_channels) = shares(rows as usize, channels);
        let mut affine = unwritten::<W>(device, 2 * channels)?;
        launch!(device, CHANNEL, T, "norm_affine", over(c), &mut affine, &statistics, &gamma, &beta, &eps, &c);
        let mut partial = partials(device, by_rows, channels)?;
        launch!(
            device, CHANNEL, T, "norm_partial", blocks((by_rows, by_channels), THREADS),
            &mut partial, &values, &g, &affine, &statistics, &code, &slope, &rows, &c,
        );
        let (mut dgamma, mut dbeta) = (unwritten::<W>(device, channels)?, unwritten::<W>(device, channels)?);
        let mut constants = unwritten::<W>(device, 2 * channels)?;
        launch!(
            device, CHANNEL, T, "norm_whole", blocks((c, 1), WHOLE),
            &mut dgamma, &mut dbeta, &mut constants, &partial, &affine, &statistics, &eps, &by_rows, &rows, &c,
        );
        let mut dx = unwritten::<T>(device, values.len())?;
        launch!(device, CHANNEL, T, "norm_grad", over(n), &mut dx, &values, &g, &affine, &constants, &code, &slope, &n, &c);
        Ok([done(dx, device, x.1.shape()), done(dgamma, device, channels), done(dbeta, device, channels)])
    })
}
