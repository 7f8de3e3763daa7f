//! Convolution as one product of matrices a group: gather patches, multiply, and the transposes of both.

use super::super::conv::Sizes;
use super::epilogue::{Finish, finish};
use super::gemm::{Matrix, Target, multiply};
use super::launch::{CONV, launch, over};
use super::{Element, Operand, activation_code, count, done, unwritten, view, with_element};
use crate::ops::Activation;
use candle_core::cuda_backend::CudaDevice;
use candle_core::cuda_backend::cudarc::driver::{CudaSlice, CudaView, CudaViewMut};
use candle_core::{CudaStorage, Result, Shape};

/// The sizes of one piece of a batch, as the kernels take them.
struct Plan {
    sizes: Sizes,
    images: usize,
    columns: usize,
    channels: usize,
    outputs: usize,
    shape: [u32; 16],
    /// Whether channels can be moved four at a time, in one word.
    by_four: bool,
}

impl Plan {
    /// For images of which the large ones begin `start` elements behind an aligned place.
    fn new(sizes: Sizes, start: usize) -> Result<Self> {
        let (g, columns) = (sizes.geometry, sizes.patch_len());
        let channels = sizes.channels / g.groups;
        let images = sizes.images_a_piece();
        let axes = [sizes.small, sizes.kernel, g.stride, g.padding];
        let all = sizes.large.into_iter().chain([sizes.channels]).chain(axes.into_iter().flatten());
        let mut shape = [0; 16];
        for (to, from) in shape.iter_mut().zip(all) {
            *to = count("conv", from)?;
        }
        let by_four = [channels, sizes.channels, start].iter().all(|n| n.is_multiple_of(4));
        Ok(Self { sizes, images, columns, channels, outputs: sizes.outputs / g.groups, shape, by_four })
    }

    /// Pieces of the batch: the first image and how many.
    fn pieces(&self) -> impl Iterator<Item = (usize, usize)> + use<> {
        let (images, all) = (self.images, self.sizes.images);
        (0..all).step_by(images).map(move |first| (first, images.min(all - first)))
    }

    fn rows(&self, images: usize) -> usize {
        images * self.sizes.positions()
    }

    /// Room for the patches of a piece, where they are needed.
    fn room<T: Element>(&self, device: &CudaDevice) -> Result<CudaSlice<T>> {
        unwritten(device, if self.sizes.is_pointwise() { 0 } else { self.rows(self.images) * self.columns })
    }

    /// The patches [rows, columns] of these images in one group: written into `room`, or the images themselves where every
    /// patch is one position.
    fn patches<'a, T: Element>(
        &self,
        device: &CudaDevice,
        large: &'a CudaView<'a, T>,
        group: usize,
        room: &'a mut CudaSlice<T>,
    ) -> Result<CudaView<'a, T>> {
        if self.sizes.is_pointwise() {
            return Ok(large.slice(..));
        }
        self.gather(device, large, group, room)?;
        Ok(room.slice(..))
    }

    fn gather<T: Element>(
        &self,
        device: &CudaDevice,
        large: &CudaView<'_, T>,
        group: usize,
        patches: &mut CudaSlice<T>,
    ) -> Result<()> {
        let n = count("conv", self.rows(large.len() / self.sizes.large_len()) * self.columns)?;
        let [depth, height, width, c, d, h, w, kd, kh, kw, sd, sh, sw, pd, ph, pw] = &self.shape;
        let (run, first) = (self.channels as u32, (group * self.channels) as u32);
        macro_rules! gather {
            ($name:literal, $n:expr) => {
                launch!(
                    device,
                    CONV,
                    T,
                    $name,
                    over($n),
                    patches,
                    large,
                    &n,
                    depth,
                    height,
                    width,
                    c,
                    d,
                    h,
                    w,
                    kd,
                    kh,
                    kw,
                    sd,
                    sh,
                    sw,
                    pd,
                    ph,
                    pw,
                    &run,
                    &first
                )
            };
        }
        match self.by_four {
            true => gather!("gather4", n / 4),
            false => gather!("gather1", n),
        }
        Ok(())
    }

    /// The images from patches, with what is left to do.
    fn scatter<T: Element>(
        &self,
        device: &CudaDevice,
        mut images: CudaViewMut<'_, T>,
        patches: &CudaSlice<T>,
        group: usize,
        end: &Finish<'_, T::Wide>,
    ) -> Result<()> {
        let n = count("conv-transpose", images.len() / self.sizes.geometry.groups)?;
        let [depth, height, width, c, d, h, w, kd, kh, kw, sd, sh, sw, pd, ph, pw] = &self.shape;
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
                    depth,
                    height,
                    width,
                    c,
                    d,
                    h,
                    w,
                    kd,
                    kh,
                    kw,
                    sd,
                    sh,
                    sw,
                    pd,
                    ph,
                    pw,
                    &run,
                    &first
                )
            };
        }
        match (&end.bias, self.by_four) {
            (Some(bias), true) => scatter!("scatter4", n / 4, bias),
            (Some(bias), false) => scatter!("scatter1", n, bias),
            (None, true) => scatter!("scatter4", n / 4, &0u64),
            (None, false) => scatter!("scatter1", n, &0u64),
        }
        Ok(())
    }
}

/// `activation(w * x + bias)`.
pub(in crate::ops) fn conv(
    sizes: Sizes,
    x: Operand<'_>,
    w: Operand<'_>,
    bias: Operand<'_>,
    activation: Activation,
    shape: &Shape,
) -> Result<(CudaStorage, Shape)> {
    let (plan, device) = (Plan::new(sizes, x.1.start_offset())?, &x.0.device);
    with_element!("conv", x.0, T => {
        let (large, weight) = (view::<T>("conv", x)?, view::<T>("conv", w)?);
        let mut out = unwritten::<T>(device, sizes.images * sizes.small_len())?;
        let mut room = plan.room::<T>(device)?;
        for (first, images) in plan.pieces() {
            let large = large.slice(first * sizes.large_len()..(first + images) * sizes.large_len());
            for group in 0..sizes.geometry.groups {
                let patches = plan.patches(device, &large, group, &mut room)?;
                let left = Matrix::rows(&patches, 0, plan.columns);
                let right = Matrix::rows(&weight, group * plan.outputs * plan.columns, plan.columns).t();
                let start = first * sizes.small_len() + group * plan.outputs;
                let target = Target { values: &mut out, start, stride: sizes.outputs, add: false };
                multiply(device, [plan.rows(images), plan.outputs, plan.columns], left, right, target)?;
            }
        }
        finish("conv", device, &mut out, bias, sizes.outputs, activation)?;
        Ok(done(out, device, shape))
    })
}

/// The transpose of [`conv`], then bias and activation.
pub(in crate::ops) fn conv_transpose(
    sizes: Sizes,
    y: Operand<'_>,
    w: Operand<'_>,
    bias: Operand<'_>,
    activation: Activation,
    shape: &Shape,
) -> Result<(CudaStorage, Shape)> {
    const OP: &str = "conv-transpose";
    let (plan, device) = (Plan::new(sizes, 0)?, &y.0.device);
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
        Ok(done(out, device, shape))
    })
}

/// The gradient of a convolution with respect to its weight, in the wide type.
pub(in crate::ops) fn weight_grad(
    sizes: Sizes,
    x: Operand<'_>,
    y: Operand<'_>,
    shape: &Shape,
) -> Result<(CudaStorage, Shape)> {
    const OP: &str = "conv-weight-grad";
    let (plan, device) = (Plan::new(sizes, x.1.start_offset())?, &x.0.device);
    with_element!(OP, x.0, T => {
        let (large, small) = (view::<T>(OP, x)?, view::<T>(OP, y)?);
        let mut out = if sizes.images == 0 {
            device.alloc_zeros::<<T as Element>::Wide>(sizes.weight_len())?
        } else {
            unwritten::<<T as Element>::Wide>(device, sizes.weight_len())?
        };
        let mut room = plan.room::<T>(device)?;
        for (first, images) in plan.pieces() {
            let large = large.slice(first * sizes.large_len()..(first + images) * sizes.large_len());
            for group in 0..sizes.geometry.groups {
                let patches = plan.patches(device, &large, group, &mut room)?;
                let left = Matrix::rows(&small, first * sizes.small_len() + group * plan.outputs, sizes.outputs).t();
                let right = Matrix::rows(&patches, 0, plan.columns);
                let start = group * plan.outputs * plan.columns;
                let target = Target { values: &mut out, start, stride: plan.columns, add: first > 0 };
                multiply(device, [plan.outputs, plan.columns, plan.rows(images)], left, right, target)?;
            }
        }
        Ok(done(out, device, shape))
    })
}
