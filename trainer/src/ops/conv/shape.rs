//! The sizes of a convolution.

use candle_core::{Error, Result, Shape};

/// Spatial axes at most: depth, height, width.
const AXES: usize = 3;

/// Elements of the patches that a GPU gathers at a time, unless one image has more.
const MOST_PATCHES: usize = if cfg!(test) { 1 << 12 } else { 1 << 28 };

/// Stride, zero padding and groups of a convolution along depth, height and width. Of signals [N, W, C] the first two are not
/// there, of images [N, H, W, C] the first is not: such an axis has the size 1, and must not be padded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// Steps between two outputs along each axis, in input elements, at least 1.
    pub stride: [usize; 3],
    /// Zeros added on each side of each axis.
    pub padding: [usize; 3],
    /// Groups that channels and outputs fall into; each group of outputs sees its own group of channels.
    pub groups: usize,
}

impl Geometry {
    /// The same stride and padding along height and width, one group.
    pub const fn square(stride: usize, padding: usize) -> Self {
        Self { stride: [1, stride, stride], padding: [0, padding, padding], groups: 1 }
    }

    /// Along the width only, one group.
    pub const fn line(stride: usize, padding: usize) -> Self {
        Self { stride: [1, 1, stride], padding: [0, 0, padding], groups: 1 }
    }

    /// The same stride and padding along all three axes, one group.
    pub const fn cube(stride: usize, padding: usize) -> Self {
        Self { stride: [stride; AXES], padding: [padding; AXES], groups: 1 }
    }

    /// The same in `groups` groups.
    pub const fn grouped(self, groups: usize) -> Self {
        Self { groups, ..self }
    }

    /// Output size along each axis there is of a convolution; `None` where the kernel does not fit, or for other numbers of
    /// axes than one to three.
    pub fn conv_size(&self, size: &[usize], kernel: &[usize]) -> Option<Vec<usize>> {
        self.along(size, kernel, |size, kernel, stride, padding| {
            let room = (size + 2 * padding).checked_sub(kernel)?;
            Some(room.checked_div(stride)? + 1)
        })
    }

    /// Output size along each axis there is of a transposed convolution, without output padding; `None` where nothing is
    /// left, or for other numbers of axes than one to three.
    pub fn transposed_size(&self, size: &[usize], kernel: &[usize]) -> Option<Vec<usize>> {
        self.along(size, kernel, |size, kernel, stride, padding| {
            (size.checked_sub(1)? * stride + kernel).checked_sub(2 * padding).filter(|_| stride > 0)
        })
    }

    /// The shape of a sample after a convolution: of [.., C] by a weight [O, k.., C / groups]; `None` where they do not fit.
    pub fn conv_shape(&self, sample: &[usize], weight: &[usize]) -> Option<Vec<usize>> {
        let ((&channels, size), (&outputs, &group_channels, kernel)) = (sample.split_last()?, parts(weight)?);
        let mut shape = self.conv_size(size, kernel)?;
        shape.push(outputs);
        self.fits(channels, outputs, group_channels, [size, &shape, kernel]).then_some(shape)
    }

    /// The shape of a sample after a transposed convolution: of [.., O] by a weight [O, k.., C / groups]; `None` where they
    /// do not fit.
    pub fn transposed_shape(&self, sample: &[usize], weight: &[usize]) -> Option<Vec<usize>> {
        let ((&outputs, size), (&of_weight, &group_channels, kernel)) = (sample.split_last()?, parts(weight)?);
        let mut shape = self.transposed_size(size, kernel)?;
        let channels = group_channels * self.groups;
        shape.push(channels);
        (outputs == of_weight && self.fits(channels, outputs, group_channels, [size, &shape, kernel])).then_some(shape)
    }

    /// Whether channels fall into groups, and nothing is empty.
    fn fits(&self, channels: usize, outputs: usize, group_channels: usize, sizes: [&[usize]; 3]) -> bool {
        self.groups > 0
            && group_channels * self.groups == channels
            && outputs.is_multiple_of(self.groups)
            && channels * outputs > 0
            && !sizes.concat().contains(&0)
    }

    /// `f(size, kernel, stride, padding)` along each axis there is.
    fn along(
        &self,
        size: &[usize],
        kernel: &[usize],
        f: impl Fn(usize, usize, usize, usize) -> Option<usize>,
    ) -> Option<Vec<usize>> {
        let missing = AXES.checked_sub(size.len()).filter(|&missing| missing < AXES && size.len() == kernel.len())?;
        let unpadded = self.padding[..missing].iter().all(|&padding| padding == 0);
        let rest = self.stride[missing..].iter().zip(&self.padding[missing..]);
        let axes = size.iter().zip(kernel).zip(rest);
        axes.map(|((&size, &kernel), (&stride, &padding))| f(size, kernel, stride, padding).filter(|_| unpadded))
            .collect()
    }
}

/// Outputs, channels of a group and the kernel's sizes of a weight [O, k.., C / groups].
fn parts(weight: &[usize]) -> Option<(&usize, &usize, &[usize])> {
    match weight {
        [outputs, kernel @ .., group_channels] => Some((outputs, group_channels, kernel)),
        _ => None,
    }
}

/// All sizes of a convolution from `large` [N, D, H, W, C] to `small` [N, d, h, w, O]; a transposed one goes the other way.
/// Axes that are not there have the size 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::ops) struct Sizes {
    pub images: usize,
    pub large: [usize; 3],
    pub channels: usize,
    pub small: [usize; 3],
    pub outputs: usize,
    pub kernel: [usize; 3],
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
        let (Some((images, size)), Some((n, sample))) = (large.split_first(), small.split_first()) else {
            return Err(misfit(op, [large, small], weight, geometry));
        };
        let found = match (size.split_last(), parts(weight)) {
            (Some((&channels, axes)), Some((&outputs, _, kernel)))
                if images == n && geometry.conv_shape(size, weight).as_deref() == Some(sample) =>
            {
                let small = spread(&sample[..axes.len()]);
                let sizes = [spread(axes), small, spread(kernel)];
                Some(Self { images: *images, large: sizes[0], channels, small, outputs, kernel: sizes[2], geometry })
            }
            _ => None,
        };
        found.ok_or_else(|| misfit(op, [large, small], weight, geometry))
    }

    /// Positions of one image on the small side.
    pub(in crate::ops) fn positions(&self) -> usize {
        self.small.iter().product()
    }

    /// Elements of one image on the large side.
    pub(in crate::ops) fn large_len(&self) -> usize {
        self.large.iter().product::<usize>() * self.channels
    }

    /// Elements of one image on the small side.
    pub(in crate::ops) fn small_len(&self) -> usize {
        self.positions() * self.outputs
    }

    /// Elements of what one output of one group sees.
    pub(in crate::ops) fn patch_len(&self) -> usize {
        self.kernel.iter().product::<usize>() * self.channels / self.geometry.groups
    }

    /// Elements of the weight.
    pub(in crate::ops) fn weight_len(&self) -> usize {
        self.outputs * self.patch_len()
    }

    /// Images whose patches a GPU gathers at a time.
    pub(in crate::ops) fn images_a_piece(&self) -> usize {
        (MOST_PATCHES / (self.positions() * self.patch_len())).clamp(1, self.images.max(1))
    }

    /// Whether there is no depth, so that all is in the planes of height and width.
    pub(in crate::ops) fn is_flat(&self) -> bool {
        // A kernel that fits into that is of size 1, and so is the small side.
        self.large[0] == 1 && self.geometry.padding[0] == 0
    }

    /// Whether every patch is one position, so that the patches of an image are the image.
    pub(in crate::ops) fn is_pointwise(&self) -> bool {
        let g = self.geometry;
        self.kernel == [1; AXES] && self.large == self.small && g.padding == [0; AXES] && g.groups == 1
    }
}

/// Up to three sizes, ones before them.
pub(super) fn spread(sizes: &[usize]) -> [usize; 3] {
    let mut all = [1; AXES];
    all[AXES - sizes.len()..].copy_from_slice(sizes);
    all
}

/// The shape of [N, .., C] in tensors of `rank` axes.
pub(super) fn shape(images: usize, sizes: [usize; 3], channels: usize, rank: usize) -> Shape {
    let mut dims = vec![images];
    dims.extend(&sizes[AXES + 2 - rank..]);
    dims.push(channels);
    dims.into()
}

pub(super) fn misfit(op: &str, [large, small]: [&[usize]; 2], weight: &[usize], geometry: Geometry) -> Error {
    Error::Msg(format!(
        "{op}: {large:?} and {small:?} [N, .., C], one to three axes between, do not fit a weight of {weight:?} \
         [O, k.., C / groups] with {geometry:?}"
    ))
}
