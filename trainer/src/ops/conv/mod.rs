//! Convolution, transposed convolution and the weight gradient: three operators closed under differentiation.
//!
//! With `x` [N, H, W, C], `w` [O, kh, kw, C / groups], `y` [N, h, w, O], and P the linear map that gathers patches:
//! - `Conv(x, w) = w P(x)`; `dx = ConvT(dy, w)`, `dw = WGrad(x, dy)`
//! - `ConvT(y, w) = P'(w' y)`; `dy = Conv(dx, w)`, `dw = WGrad(dx, y)`
//! - `WGrad(x, y) = y P(x)'`; `dx = ConvT(y, dw)`, `dy = Conv(x, dw)`
//!
//! so derivatives of any order stay inside the three (Dumoulin & Visin, "A guide to convolution arithmetic for deep
//! learning", 2016, for the shapes). The first two add a bias and apply an activation on the way out.

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

use super::epilogue::{Activation, Epilogue, Grads, Wanted, no_bias};
use super::{contiguous, result, with_real};
use candle_core::{CpuStorage, CustomOp2, CustomOp3, Layout, Result, Shape, Tensor, bail};
pub(super) use shape::Sizes;
use shape::spatial;
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

/// `activation(w * x + bias)`: `x` [N, H, W, C], `w` [O, kh, kw, C / groups], `bias` `[O]` -> [N, h, w, O] with
/// `h = (H + 2 padding - kh) / stride + 1`.
///
/// # Errors
/// Shapes that do not fit, element types other than `f32` and `f64`.
pub fn conv2d(
    x: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    geometry: Geometry,
) -> Result<Tensor> {
    let bias = bias.cloned().map_or_else(|| no_bias(w), Ok)?;
    x.contiguous()?.apply_op3(&w.contiguous()?, &bias.contiguous()?, Conv { geometry, activation })
}

/// The transpose of [`conv2d`]: `y` [N, h, w, O], `w` [O, kh, kw, C / groups], `bias` `[C]` -> [N, H, W, C] with
/// `H = (h - 1) * stride + kh - 2 padding`, then the activation.
///
/// # Errors
/// As [`conv2d`].
pub fn conv_transpose2d(
    y: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    geometry: Geometry,
) -> Result<Tensor> {
    match geometry.transposed_size(spatial(y)?, spatial(w)?) {
        Some(size) => conv_transpose(y, w, bias, activation, geometry, size),
        None => bail!("conv-transpose2d: {y:?} by {w:?} with {geometry:?} leaves nothing"),
    }
}

/// With a stride, several sizes of the large side share one of the small side: `size` is the one that is wanted.
fn conv_transpose(
    y: &Tensor,
    w: &Tensor,
    bias: Option<&Tensor>,
    activation: Activation,
    geometry: Geometry,
    size: [usize; 2],
) -> Result<Tensor> {
    let bias = bias.cloned().map_or_else(|| no_bias(w), Ok)?;
    y.contiguous()?.apply_op3(&w.contiguous()?, &bias.contiguous()?, ConvTranspose { geometry, activation, size })
}

fn weight_grad(x: &Tensor, y: &Tensor, geometry: Geometry, kernel: [usize; 2]) -> Result<Tensor> {
    x.contiguous()?.apply_op2(&y.contiguous()?, WeightGrad { geometry, kernel })
}

/// The gradients of [`conv2d`], of which `y` is the result and `grad` the gradient with respect to it.
///
/// # Errors
/// As [`conv2d`].
pub fn conv2d_backward(
    [x, w, y, grad]: [&Tensor; 4],
    activation: Activation,
    geometry: Geometry,
    wanted: Wanted,
) -> Result<Grads> {
    let grad = activation.backward(y, grad)?;
    Grads::of(
        wanted,
        &grad,
        || conv_transpose(&grad, w, None, Activation::None, geometry, spatial(x)?),
        || weight_grad(x, &grad, geometry, spatial(w)?),
    )
}

/// The gradients of [`conv_transpose2d`], of which `x` is the result and `grad` the gradient with respect to it.
///
/// # Errors
/// As [`conv_transpose2d`].
pub fn conv_transpose2d_backward(
    [y, w, x, grad]: [&Tensor; 4],
    activation: Activation,
    geometry: Geometry,
    wanted: Wanted,
) -> Result<Grads> {
    let grad = activation.backward(x, grad)?;
    Grads::of(
        wanted,
        &grad,
        || conv2d(&grad, w, None, Activation::None, geometry),
        || weight_grad(&grad, y, geometry, spatial(w)?),
    )
}

struct Conv {
    geometry: Geometry,
    activation: Activation,
}

struct ConvTranspose {
    geometry: Geometry,
    activation: Activation,
    size: [usize; 2],
}

struct WeightGrad {
    geometry: Geometry,
    kernel: [usize; 2],
}

impl Conv {
    fn sizes(&self, xl: &Layout, wl: &Layout) -> Result<Sizes> {
        let (&[n, h, wd, _], &[o, kh, kw, _]) = (xl.dims(), wl.dims()) else {
            bail!("conv2d: takes [N, H, W, C] and [O, kh, kw, C / groups], got {:?} and {:?}", xl.dims(), wl.dims())
        };
        // A kernel that does not fit gives a size that is refused with all others.
        let [sh, sw] = self.geometry.conv_size([h, wd], [kh, kw]).unwrap_or_default();
        Sizes::new("conv2d", xl.dims(), &[n, sh, sw, o], wl.dims(), self.geometry)
    }
}

impl CustomOp3 for Conv {
    fn name(&self) -> &'static str {
        "conv2d"
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
        let sizes = self.sizes(xl, wl)?;
        let small = [sizes.images, sizes.small[0], sizes.small[1], sizes.outputs];
        with_real!("conv2d", x, T => {
            let (x, w) = (contiguous::<T>("conv2d", x, xl)?, contiguous::<T>("conv2d", w, wl)?);
            let bias = contiguous::<T>("conv2d", b, bl)?;
            let epilogue = Epilogue::new("conv2d", bias, sizes.outputs, self.activation)?;
            Ok(result(kernels::conv(&sizes, x, w, &epilogue), &small[..]))
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
        cuda::conv(self.sizes(xl, wl)?, (x, xl), (w, wl), (b, bl), self.activation)
    }

    fn bwd(
        &self,
        x: &Tensor,
        w: &Tensor,
        b: &Tensor,
        y: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let wanted = Wanted::tracked(x, w, b);
        Ok(conv2d_backward([x, w, y, grad], self.activation, self.geometry, wanted)?.into_tuple())
    }
}

impl ConvTranspose {
    fn sizes(&self, yl: &Layout, wl: &Layout) -> Result<Sizes> {
        let (&[n, ..], &[_, _, _, group_channels]) = (yl.dims(), wl.dims()) else {
            bail!(
                "conv-transpose2d: takes [N, h, w, O] and [O, kh, kw, C / groups], got {:?} and {:?}",
                yl.dims(),
                wl.dims()
            )
        };
        let c = group_channels * self.geometry.groups;
        let large = [n, self.size[0], self.size[1], c];
        Sizes::new("conv-transpose2d", &large, yl.dims(), wl.dims(), self.geometry)
    }
}

impl CustomOp3 for ConvTranspose {
    fn name(&self) -> &'static str {
        "conv-transpose2d"
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
        let sizes = self.sizes(yl, wl)?;
        let (c, large) = (sizes.channels, [sizes.images, sizes.large[0], sizes.large[1], sizes.channels]);
        with_real!("conv-transpose2d", y, T => {
            let (y, w) = (contiguous::<T>("conv-transpose2d", y, yl)?, contiguous::<T>("conv-transpose2d", w, wl)?);
            let epilogue =
                Epilogue::new("conv-transpose2d", contiguous::<T>("conv-transpose2d", b, bl)?, c, self.activation)?;
            Ok(result(kernels::conv_transpose(&sizes, y, w, &epilogue), &large[..]))
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
        cuda::conv_transpose(self.sizes(yl, wl)?, (y, yl), (w, wl), (b, bl), self.activation)
    }

    fn bwd(
        &self,
        y: &Tensor,
        w: &Tensor,
        b: &Tensor,
        x: &Tensor,
        grad: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let wanted = Wanted::tracked(y, w, b);
        Ok(conv_transpose2d_backward([y, w, x, grad], self.activation, self.geometry, wanted)?.into_tuple())
    }
}

impl WeightGrad {
    /// The sizes, and the shape of the weight.
    fn sizes(&self, xl: &Layout, yl: &Layout) -> Result<(Sizes, [usize; 4])> {
        let (&[_, _, _, c], &[_, _, _, o]) = (xl.dims(), yl.dims()) else {
            bail!("conv2d-weight-grad: takes [N, H, W, C] and [N, h, w, O], got {:?} and {:?}", xl.dims(), yl.dims())
        };
        let weight = [o, self.kernel[0], self.kernel[1], c / self.geometry.groups.max(1)];
        Ok((Sizes::new("conv2d-weight-grad", xl.dims(), yl.dims(), &weight, self.geometry)?, weight))
    }
}

impl CustomOp2 for WeightGrad {
    fn name(&self) -> &'static str {
        "conv2d-weight-grad"
    }

    fn cpu_fwd(&self, x: &CpuStorage, xl: &Layout, y: &CpuStorage, yl: &Layout) -> Result<(CpuStorage, Shape)> {
        let (sizes, weight) = self.sizes(xl, yl)?;
        with_real!("conv2d-weight-grad", x, T => {
            let (x, y) = (contiguous::<T>("conv2d-weight-grad", x, xl)?, contiguous::<T>("conv2d-weight-grad", y, yl)?);
            Ok(result(kernels::weight_grad(&sizes, x, y), &weight[..]))
        })
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, x: &CudaStorage, xl: &Layout, y: &CudaStorage, yl: &Layout) -> Result<(CudaStorage, Shape)> {
        let (sizes, weight) = self.sizes(xl, yl)?;
        cuda::weight_grad(sizes, (x, xl), (y, yl), weight)
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, _: &Tensor, grad: &Tensor) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let wanted = |t: &Tensor, f: &dyn Fn() -> Result<Tensor>| t.track_op().then(f).transpose();
        let (g, none) = (self.geometry, Activation::None);
        Ok((
            wanted(x, &|| conv_transpose(y, grad, None, none, g, spatial(x)?))?,
            wanted(y, &|| conv2d(x, grad, None, none, g))?,
        ))
    }
}
