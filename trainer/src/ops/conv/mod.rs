//! Convolution, transposed convolution and the weight gradient, of signals, images and volumes.
//!
//! With `x` [N, .., C], `w` [O, k.., C / groups], `y` [N, .., O], one to three spatial axes in the middle, and P the linear map
//! that gathers patches:
//! - `Conv(x, w) = w P(x)`; `dx = ConvT(dy, w)`, `dw = WGrad(x, dy)`
//! - `ConvT(y, w) = P'(w' y)`; `dy = Conv(dx, w)`, `dw = WGrad(dx, y)`
//! - `WGrad(x, y) = y P(x)'`
//!
//! All are linear in each argument, so that tangents and their gradients stay inside the three (Dumoulin & Visin, "A guide to
//! convolution arithmetic for deep learning", 2016, for the shapes). The first two add a bias and apply an activation on the
//! way out.

#[allow(clippy::needless_range_loop, reason = "indices of matrices, as the formulas have them")]
mod filter;
mod im2col;
mod kernels;
mod shape;
#[cfg(test)]
mod tests;
#[allow(clippy::needless_range_loop, reason = "indices of matrices, as the formulas have them")]
mod winograd;

pub use shape::Geometry;

use super::epilogue::{Activation, Epilogue, LayerGradients, layer_gradients, no_bias};
use super::{Scratch, contiguous, result, with_real};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor};
pub(super) use shape::Sizes;
use shape::misfit;
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

/// `activation(w * x + bias)`: `x` [N, W, C], [N, H, W, C] or [N, D, H, W, C], `w` [O, k.., C / groups] with as many sizes of
/// the kernel, `bias` `[O]` -> [N, .., O] with `(size + 2 padding - k) / stride + 1` along each axis.
///
/// # Errors
/// Shapes that do not fit, padding along an axis that is not there, element types other than `f32` and `f64`.
pub fn conv(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    geometry: Geometry,
) -> Result<Tensor> {
    let small = match x.dims() {
        [images, sample @ ..] => geometry.conv_shape(sample, w.dims()).map(|shape| [&[*images], &shape[..]].concat()),
        [] => None,
    };
    let Some(small) = small else { return Err(misfit("conv", [x.dims(), &[]], w.dims(), geometry)) };
    convolved(x, w, bias, activation, Sizes::new("conv", x.dims(), &small, w.dims(), geometry)?)
}

fn convolved(x: &Tensor, w: &Tensor, bias: Option<&Tensor>, activation: Activation, sizes: Sizes) -> Result<Tensor> {
    let bias = bias.cloned().map_or_else(|| no_bias(w), Ok)?;
    let op = Conv { shape: shape::shape(sizes.images, sizes.small, sizes.outputs, x.rank()), sizes, activation };
    x.contiguous()?.apply_op3_no_bwd(&w.contiguous()?, &bias.contiguous()?, &op)
}

/// What [`conv`], [`conv_transpose`] and their gradients work in, for a large side `x` [N, .., C] and a small one `y`
/// [N, .., O].
///
/// # Errors
/// Shapes that do not fit.
pub fn conv_scratch([x, y]: [&[usize]; 2], w: &[usize], geometry: Geometry) -> Result<Scratch> {
    Ok(kernels::scratch(&Sizes::new("conv-scratch", x, y, w, geometry)?))
}

/// The transpose of [`conv`]: `y` [N, .., O], `w` [O, k.., C / groups], `bias` `[C]` -> [N, .., C] with
/// `(size - 1) * stride + k - 2 padding` along each axis, then the activation.
///
/// # Errors
/// As [`conv`].
pub fn conv_transpose(
    y: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    geometry: Geometry,
) -> Result<Tensor> {
    const OP: &str = "conv-transpose";
    let large = match y.dims() {
        [images, sample @ ..] => {
            geometry.transposed_shape(sample, w.dims()).map(|shape| [&[*images], &shape[..]].concat())
        }
        [] => None,
    };
    let Some(large) = large else { return Err(misfit(OP, [&[], y.dims()], w.dims(), geometry)) };
    transposed(y, w, bias, activation, Sizes::new(OP, &large, y.dims(), w.dims(), geometry)?)
}

/// With a stride, several sizes of the large side share one of the small side: `sizes` has the one that is wanted.
fn transposed(y: &Tensor, w: &Tensor, bias: Option<&Tensor>, activation: Activation, sizes: Sizes) -> Result<Tensor> {
    let bias = bias.cloned().map_or_else(|| no_bias(w), Ok)?;
    let op =
        ConvTranspose { shape: shape::shape(sizes.images, sizes.large, sizes.channels, y.rank()), sizes, activation };
    y.contiguous()?.apply_op3_no_bwd(&w.contiguous()?, &bias.contiguous()?, &op)
}

/// The gradient of a weight of this shape.
fn weight_grad(x: &Tensor, y: &Tensor, sizes: Sizes, weight: &[usize]) -> Result<Tensor> {
    x.contiguous()?.apply_op2_no_bwd(&y.contiguous()?, &WeightGrad { sizes, shape: weight.into() })
}

/// The gradients of [`conv`], of which `y` is the result and `grad` the gradient with respect to it.
///
/// # Errors
/// As [`conv`].
pub fn conv_backward(
    [x, w, y, grad]: [&Tensor; 4],
    activation: Activation,
    geometry: Geometry,
    wanted: [bool; 3],
) -> Result<LayerGradients> {
    let grad = activation.backward(y, grad)?;
    let sizes = Sizes::new("conv-backward", x.dims(), grad.dims(), w.dims(), geometry)?;
    layer_gradients(
        wanted,
        &grad,
        || transposed(&grad, w, None, Activation::None, sizes),
        || weight_grad(x, &grad, sizes, w.dims()),
    )
}

/// The gradients of [`conv_transpose`], of which `x` is the result and `grad` the gradient with respect to it.
///
/// # Errors
/// As [`conv_transpose`].
pub fn conv_transpose_backward(
    [y, w, x, grad]: [&Tensor; 4],
    activation: Activation,
    geometry: Geometry,
    wanted: [bool; 3],
) -> Result<LayerGradients> {
    let grad = activation.backward(x, grad)?;
    let sizes = Sizes::new("conv-transpose-backward", grad.dims(), y.dims(), w.dims(), geometry)?;
    layer_gradients(
        wanted,
        &grad,
        || convolved(&grad, w, None, Activation::None, sizes),
        || weight_grad(&grad, y, sizes, w.dims()),
    )
}

struct Conv {
    sizes: Sizes,
    /// That of the result.
    shape: Shape,
    activation: Activation,
}

struct ConvTranspose {
    sizes: Sizes,
    /// That of the result.
    shape: Shape,
    activation: Activation,
}

struct WeightGrad {
    sizes: Sizes,
    /// That of the weight.
    shape: Shape,
}

impl CustomOp3 for Conv {
    fn name(&self) -> &'static str {
        "conv"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        xl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_real!(self.name(), x, T => {
            let (x, w) = (contiguous::<T>(self.name(), x, xl)?, contiguous::<T>(self.name(), w, wl)?);
            let bias = contiguous::<T>(self.name(), b, bl)?;
            let epilogue = Epilogue::new(self.name(), bias, self.sizes.outputs, self.activation)?;
            Ok(result(kernels::conv(&self.sizes, x, w, &epilogue), &self.shape))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        x: &CudaStorage,
        xl: &Layout,
        w: &CudaStorage,
        wl: &Layout,
        b: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::conv(self.sizes, (x, xl), (w, wl), (b, bl), self.activation, &self.shape)
    }
}

impl CustomOp3 for ConvTranspose {
    fn name(&self) -> &'static str {
        "conv-transpose"
    }

    fn cpu_fwd(
        &self,
        y: &CpuStorage,
        yl: &Layout,
        w: &CpuStorage,
        wl: &Layout,
        b: &CpuStorage,
        bl: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        with_real!(self.name(), y, T => {
            let (y, w) = (contiguous::<T>(self.name(), y, yl)?, contiguous::<T>(self.name(), w, wl)?);
            let bias = contiguous::<T>(self.name(), b, bl)?;
            let epilogue = Epilogue::new(self.name(), bias, self.sizes.channels, self.activation)?;
            Ok(result(kernels::conv_transpose(&self.sizes, y, w, &epilogue), &self.shape))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        y: &CudaStorage,
        yl: &Layout,
        w: &CudaStorage,
        wl: &Layout,
        b: &CudaStorage,
        bl: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::conv_transpose(self.sizes, (y, yl), (w, wl), (b, bl), self.activation, &self.shape)
    }
}

impl CustomOp2 for WeightGrad {
    fn name(&self) -> &'static str {
        "conv-weight-grad"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, y: &CpuStorage, yl: &Layout) -> Result<(CpuStorage, Shape)> {
        with_real!(self.name(), x, T => {
            let (x, y) = (contiguous::<T>(self.name(), x, xl)?, contiguous::<T>(self.name(), y, yl)?);
            Ok(result(kernels::weight_grad(&self.sizes, x, y), &self.shape))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, y: &CudaStorage, yl: &Layout) -> Result<(CudaStorage, Shape)> {
        cuda::weight_grad(self.sizes, (x, xl), (y, yl), &self.shape)
    }
}
