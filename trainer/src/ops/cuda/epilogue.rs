//! What a layer does with its result in the last pass over it: bias and activation.

use super::launch::{CONV, launch, over};
use super::{Element, Operand, activation_code, count, view};
use crate::ops::Activation;
use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{Result, bail};

/// What is left to do with a result: a bias of the wide type, an empty one being none, and the activation.
pub(super) struct Finish<'a, W> {
    pub bias: Option<CudaView<'a, W>>,
    pub activation: Activation,
}

impl<'a, W: Element> Finish<'a, W> {
    pub(super) fn new(op: &str, bias: Operand<'a>, channels: usize, activation: Activation) -> Result<Self> {
        match activation {
            Activation::LeakyRelu(slope) if slope.is_nan() || slope < 0. => {
                bail!("{op}: the slope of a leaky ReLU must not be negative, got {slope}")
            }
            _ => (),
        }
        match bias.1.shape().elem_count() {
            0 => Ok(Self { bias: None, activation }),
            n if n == channels => Ok(Self { bias: Some(view(op, bias)?), activation }),
            n => bail!("{op}: {channels} channels take a bias of {channels}, got {n}"),
        }
    }
}

/// Adds the bias to rows of channels and applies the activation, in place.
pub(super) fn finish<T: Element>(
    op: &str,
    device: &CudaDevice,
    values: &mut CudaSlice<T>,
    bias: Operand<'_>,
    channels: usize,
    activation: Activation,
) -> Result<()> {
    let finish = Finish::<T::Wide>::new(op, bias, channels, activation)?;
    let n = count(op, values.len())?;
    if n == 0 || (finish.bias.is_none() && activation == Activation::None) {
        return Ok(());
    }
    let ((code, slope), channels) = (activation_code(activation), channels as u32);
    let slope = T::wide(slope);
    match &finish.bias {
        Some(bias) => launch!(device, CONV, T, "epilogue", over(n), values, bias, &1i32, &code, &slope, &n, &channels),
        None => launch!(device, CONV, T, "epilogue", over(n), values, &0u64, &0i32, &code, &slope, &n, &channels),
    }
    Ok(())
}
