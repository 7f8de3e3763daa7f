//! Convolution as one product of matrices a group: gather patches, multiply, and the transposes of both.

use super::super::conv::Sizes;
use super::gemm::{Matrix, Target, multiply};
use super::launch::{CONV, launch, over};
use super::{Element, Operand, activation_code, count, done, unwritten, view, with_element};
use crate::ops::Activation;
use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView};
use candle_core::{CudaStorage, Result, Shape, bail};

/// Elements of patches at most; larger batches are worked through in pieces.
const MOST_PATCHES: usize = 1 << 28;

/// The sizes of one piece of a batch, as the kernels take them.
struct Plan {
    sizes: Sizes,
    images: usize,
    columns: usize,
    channels: usize,
    outputs: usize,
    shape: [u32; 11],
}

impl Plan {
    fn new(sizes: Sizes) -> Result<Self> {
        let ([kh, kw], groups) = (sizes.kernel, sizes.geometry.groups);
        let channels = sizes.channels / groups;
        let columns = kh * kw * channels;
        let images = (MOST_PATCHES / (sizes.small[0] * sizes.small[1] * columns)).clamp(1, sizes.images.max(1));
        let (g, [h, w], [sh, sw]) = (sizes.geometry, sizes.large, sizes.small);
        let all = [h, w, sizes.channels, sh, sw, kh, kw, g.stride[0], g.stride[1], g.padding[0], g.padding[1]];
        let mut shape = [0; 11];
        for (to, from) in shape.iter_mut().zip(all) {
            *to = count("conv2d", from)?;
        }
        Ok(Self { sizes, images, columns, channels, outputs: sizes.outputs / groups, shape })
    }

    /// Where every patch is one position, patches are the images.
    fn is_plain(&self) -> bool {
        let g = self.sizes.geometry;
        self.sizes.kernel == [1, 1] && g.stride == [1, 1] && g.padding == [0, 0] && g.groups == 1
    }

    /// Whether channels can be moved four at a time.
    fn by_four(&self) -> bool {
        self.channels.is_multiple_of(4) && self.sizes.channels.is_multiple_of(4)
    }

    /// Pieces of the batch: the first image and how many.
    fn pieces(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (images, all) = (self.images, self.sizes.images);
        (0..all).step_by(images).map(move |first| (first, images.min(all - first)))
    }

    fn rows(&self, images: usize) -> usize {
        images * self.sizes.small[0] * self.sizes.small[1]
    }

    /// The patches of these images in one group.
    fn gather<T: Element>(
        &self,
        device: &CudaDevice,
        large: &CudaView<'_, T>,
        group: usize,
        patches: &mut CudaSlice<T>,
    ) -> Result<()> {
        let n = count("conv2d", self.rows(large.len() / self.sizes.large_len()) * self.columns)?;
        let [h, w, c, sh, sw, kh, kw, s0, s1, p0, p1] = &self.shape;
        let (run, first) = (self.channels as u32, (group * self.channels) as u32);
        if self.by_four() {
            launch!(
                device,
                CONV,
                T,
                "gather4",
                over(n / 4),
                patches,
                large,
                &n,
                h,
                w,
                c,
                sh,
                sw,
                kh,
                kw,
                s0,
                s1,
                p0,
                p1,
                &run,
                &first
            );
        } else {
            launch!(
                device,
                CONV,
                T,
                "gather1",
                over(n),
                patches,
                large,
                &n,
                h,
                w,
                c,
                sh,
                sw,
                kh,
                kw,
                s0,
                s1,
                p0,
                p1,
                &run,
                &first
            );
        }
        Ok(())
    }
}

/// What is left to do with a result: a bias of the wide type, an empty one being none, and the activation.
struct Finish<'a, W> {
    bias: Option<CudaView<'a, W>>,
    activation: Activation,
}

impl<'a, W: Element> Finish<'a, W> {
    fn new(op: &str, bias: Operand<'a>, channels: usize, activation: Activation) -> Result<Self> {
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

/// `activation(w * x + bias)`.
pub(in crate::ops) fn conv(
    sizes: Sizes,
    x: Operand<'_>,
    w: Operand<'_>,
    bias: Operand<'_>,
    activation: Activation,
) -> Result<(CudaStorage, Shape)> {
    let (plan, device) = (Plan::new(sizes)?, &x.0.device);
    let shape = [sizes.images, sizes.small[0], sizes.small[1], sizes.outputs];
    with_element!("conv2d", x.0, T => {
        let (large, weight) = (view::<T>("conv2d", x)?, view::<T>("conv2d", w)?);
        let mut out = unwritten::<T>(device, sizes.images * sizes.small_len())?;
        let mut patches = unwritten::<T>(device, if plan.is_plain() { 1 } else { plan.rows(plan.images) * plan.columns })?;
        for (first, images) in plan.pieces() {
            let large = large.slice(first * sizes.large_len()..(first + images) * sizes.large_len());
            for group in 0..sizes.geometry.groups {
                if !plan.is_plain() {
                    plan.gather(device, &large, group, &mut patches)?;
                }
                let patches = patches.slice(..);
                let left = Matrix::rows(if plan.is_plain() { &large } else { &patches }, 0, plan.columns);
                let right = Matrix::rows(&weight, group * plan.outputs * plan.columns, plan.columns).t();
                let start = first * sizes.small_len() + group * plan.outputs;
                let target = Target { values: &mut out, start, stride: sizes.outputs, add: false };
                multiply(device, [plan.rows(images), plan.outputs, plan.columns], left, right, target)?;
            }
        }
        finish("conv2d", device, &mut out, bias, sizes.outputs, activation)?;
        Ok(done(out, device, &shape[..]))
    })
}

/// The transpose of [`conv`], then bias and activation.
pub(in crate::ops) fn conv_transpose(
    sizes: Sizes,
    y: Operand<'_>,
    w: Operand<'_>,
    bias: Operand<'_>,
    activation: Activation,
) -> Result<(CudaStorage, Shape)> {
    const OP: &str = "conv-transpose2d";
    let (plan, device) = (Plan::new(sizes)?, &y.0.device);
    let shape = [sizes.images, sizes.large[0], sizes.large[1], sizes.channels];
    with_element!(OP, y.0, T => {
        let (small, weight) = (view::<T>(OP, y)?, view::<T>(OP, w)?);
        let end = Finish::<<T as Element>::Wide>::new(OP, bias, sizes.channels, activation)?;
        let mut out = unwritten::<T>(device, sizes.images * sizes.large_len())?;
        let mut patches = unwritten::<T>(device, plan.rows(plan.images) * plan.columns)?;
        for (first, images) in plan.pieces() {
            for group in 0..sizes.geometry.groups {
                let left = Matrix::rows(&small, first * sizes.small_len() + group * plan.outputs, sizes.outputs);
                let right = Matrix::rows(&weight, group * plan.outputs * plan.columns, plan.columns);
                let target = Target { values: &mut patches, start: 0, stride: plan.columns, add: false };
                multiply(device, [plan.rows(images), plan.columns, plan.outputs], left, right, target)?;
                let images = out.slice_mut(first * sizes.large_len()..(first + images) * sizes.large_len());
                plan.scatter(device, images, &patches, group, &end)?;
            }
        }
        Ok(done(out, device, &shape[..]))
    })
}

/// The gradient of a convolution with respect to its weight, in the wide type.
pub(in crate::ops) fn weight_grad(
    sizes: Sizes,
    x: Operand<'_>,
    y: Operand<'_>,
    shape: [usize; 4],
) -> Result<(CudaStorage, Shape)> {
    const OP: &str = "conv2d-weight-grad";
    let (plan, device) = (Plan::new(sizes)?, &x.0.device);
    with_element!(OP, x.0, T => {
        let (large, small) = (view::<T>(OP, x)?, view::<T>(OP, y)?);
        let mut out = if sizes.images == 0 {
            device.alloc_zeros::<<T as Element>::Wide>(sizes.weight_len())?
        } else {
            unwritten::<<T as Element>::Wide>(device, sizes.weight_len())?
        };
        let mut patches = unwritten::<T>(device, if plan.is_plain() { 1 } else { plan.rows(plan.images) * plan.columns })?;
        for (first, images) in plan.pieces() {
            let large = large.slice(first * sizes.large_len()..(first + images) * sizes.large_len());
            for group in 0..sizes.geometry.groups {
                if !plan.is_plain() {
                    plan.gather(device, &large, group, &mut patches)?;
                }
                let patches = patches.slice(..);
                let left = Matrix::rows(&small, first * sizes.small_len() + group * plan.outputs, sizes.outputs).t();
                let right = Matrix::rows(if plan.is_plain() { &large } else { &patches }, 0, plan.columns);
                let start = group * plan.outputs * plan.columns;
                let target = Target { values: &mut out, start, stride: plan.columns, add: first > 0 };
                multiply(device, [plan.outputs, plan.columns, plan.rows(images)], left, right, target)?;
            }
        }
        Ok(done(out, device, &shape[..]))
    })
}

impl Plan {
    /// The images from patches, with what is left to do.
    fn scatter<T: Element>(
        &self,
        device: &CudaDevice,
        mut images: candle_core::cuda_backend::cudarc::driver::CudaViewMut<'_, T>,
        patches: &CudaSlice<T>,
        group: usize,
        end: &Finish<'_, T::Wide>,
    ) -> Result<()> {
        let n = count("conv-transpose2d", images.len() / self.sizes.geometry.groups)?;
        let [h, w, c, sh, sw, kh, kw, s0, s1, p0, p1] = &self.shape;
        let (run, first) = (self.channels as u32, (group * self.channels) as u32);
        let (code, slope) = activation_code(end.activation);
        let slope = T::wide(slope);
        let has_bias = i32::from(end.bias.is_some());
        macro_rules! scatter {
            ($name:literal, $n:expr, $bias:expr) => {
                launch!(
                    device,
                    CONV,
                    T,
                    $name,
                    over($n),
                    &mut images,
                    patches,
                    $bias,
                    &has_bias,
                    &code,
                    &slope,
                    &n,
                    h,
                    w,
                    c,
                    sh,
                    sw,
                    kh,
                    kw,
                    s0,
                    s1,
                    p0,
                    p1,
                    &run,
                    &first
                )
            };
        }
        match (&end.bias, self.by_four()) {
            (Some(bias), true) => scatter!("scatter4", n / 4, bias),
            (Some(bias), false) => scatter!("scatter1", n, bias),
            (None, true) => scatter!("scatter4", n / 4, &0u64),
            (None, false) => scatter!("scatter1", n, &0u64),
        }
        Ok(())
    }
}
