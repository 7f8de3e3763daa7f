//! The sizes of a convolution.

use candle_core::{Result, Tensor, bail};

/// Stride, zero padding and groups of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Steps between two outputs along height and width, in input elements, at least 1.
    pub stride: [usize; 2],
    /// Zeros added on each side of height and width.
    pub padding: [usize; 2],
    /// Groups that channels and outputs fall into; each group of outputs sees its own group of channels.
    pub groups: usize,
}

impl Geometry {
    /// The same stride and padding in both directions, one group.
    pub const fn square(stride: usize, padding: usize) -> Self {
        Self { stride: [stride; 2], padding: [padding; 2], groups: 1 }
    }

    /// Along the width only, for signals [N, 1, W, C]; one group.
    pub const fn line(stride: usize, padding: usize) -> Self {
        Self { stride: [1, stride], padding: [0, padding], groups: 1 }
    }

    /// The same in `groups` groups.
    pub const fn grouped(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Output height and width of a convolution; `None` where the kernel does not fit.
    pub fn conv_size(&self, size: [usize; 2], kernel: [usize; 2]) -> Option<[usize; 2]> {
        let along = |i: usize| {
            let room = (size[i] + 2 * self.padding[i]).checked_sub(kernel[i])?;
            Some(room.checked_div(self.stride[i])? + 1)
        };
        Some([along(0)?, along(1)?])
    }

    /// Output height and width of a transposed convolution, without output padding; `None` where nothing is left.
    pub fn transposed_size(&self, size: [usize; 2], kernel: [usize; 2]) -> Option<[usize; 2]> {
        let along = |i: usize| {
            (size[i].checked_sub(1)? * self.stride[i] + kernel[i]).checked_sub(2 * self.padding[i]).filter(|&n| n > 0)
        };
        Some([along(0)?, along(1)?])
    }
}

/// All sizes of a convolution from `large` [N, H, W, C] to `small` [N, h, w, O]; a transposed one goes the other way.
#[derive(Clone, Copy, Debug)]
pub(in crate::ops) struct Sizes {
    pub images: usize,
    pub large: [usize; 2],
    pub channels: usize,
    pub small: [usize; 2],
    pub outputs: usize,
    pub kernel: [usize; 2],
    pub geometry: Geometry,
}

impl Sizes {
    /// The sizes for these shapes, checked.
    pub(in crate::ops) fn new(
        op: &str,
        large: &[usize],
        small: &[usize],
        weight: &[usize],
        geometry: Geometry,
    ) -> Result<Self> {
        let misfit = || {
            candle_core::Error::Msg(format!(
                "{op}: {large:?} and {small:?} [N, H, W, C] do not fit a weight of {weight:?} [O, kh, kw, C / groups] with \
                 {geometry:?}"
            ))
        };
        let (&[images, height, width, channels], &[n, h, w, outputs], &[o, kh, kw, group_channels]) =
            (large, small, weight)
        else {
            return Err(misfit());
        };
        let sizes =
            Self { images, large: [height, width], channels, small: [h, w], outputs, kernel: [kh, kw], geometry };
        let groups = geometry.groups;
        let fits = n == images
            && o == outputs
            && groups > 0
            && group_channels * groups == channels
            && outputs % groups == 0
            && height * width * channels * outputs * kh * kw > 0
            && geometry.conv_size(sizes.large, sizes.kernel) == Some(sizes.small);
        if fits { Ok(sizes) } else { Err(misfit()) }
    }

    /// Elements of one image on the large side.
    pub(in crate::ops) fn large_len(&self) -> usize {
        self.large[0] * self.large[1] * self.channels
    }

    /// Elements of one image on the small side.
    pub(in crate::ops) fn small_len(&self) -> usize {
        self.small[0] * self.small[1] * self.outputs
    }

    /// Elements of the weight.
    pub(in crate::ops) fn weight_len(&self) -> usize {
        self.outputs * self.kernel[0] * self.kernel[1] * self.channels / self.geometry.groups
    }
}

/// Height and width of [N, H, W, C], or of a weight [O, kh, kw, C].
pub(super) fn spatial(t: &Tensor) -> Result<[usize; 2]> {
    match t.dims() {
        [_, h, w, _] => Ok([*h, *w]),
        other => bail!("takes tensors of four sizes, got {other:?}"),
    }
}
