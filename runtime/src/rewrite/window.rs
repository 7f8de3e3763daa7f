//! The window of a transposed convolution.

use crate::graph::Node;

/// Rows and columns alike have one stride, no dilation and one group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Window {
    /// Height and width.
    pub(super) kernel: [usize; 2],
    pub(super) stride: usize,
    /// What is cut off above and left, and below and right, less what `output_padding` adds there.
    pub(super) before: [i64; 2],
    after: [i64; 2],
    /// Whether the attribute `pads` is another at the beginning than at the end.
    uneven: bool,
}

impl Window {
    /// That of a node with a weight of this height and width; `None` where it is another kind of window, where the kernel is
    /// shorter than the stride, or where `output_padding` adds what no input meets.
    pub(super) fn of(node: &Node<'_>, kernel: [usize; 2]) -> Option<Self> {
        let numbers = |name: &str, otherwise: i64| match node.attribute(name) {
            None => Some([otherwise; 2]),
            Some(_) => node.ints(name).and_then(|found| found.try_into().ok()),
        };
        let pads: [i64; 4] = match node.attribute("pads") {
            None => [0; 4],
            Some(_) => node.ints("pads")?.try_into().ok()?,
        };
        let [stride, columns] = numbers("strides", 1)?;
        let added = numbers("output_padding", 0)?;
        let sizes = kernel.map(|size| size as i64);
        let is_plain = stride == columns
            && stride >= 1
            && stride <= sizes[0].min(sizes[1])
            && numbers("dilations", 1)? == [1; 2]
            && numbers("kernel_shape", 0)?.iter().zip(sizes).all(|(&given, size)| given == 0 || given == size)
            && node.int("group").is_none_or(|groups| groups == 1)
            && node.attribute("auto_pad").is_none()
            && pads.iter().chain(&added).all(|&n| n >= 0);
        if !is_plain {
            return None;
        }
        let window = Self {
            kernel,
            stride: usize::try_from(stride).ok()?,
            before: [pads[0], pads[1]],
            after: [pads[2] - added[0], pads[3] - added[1]],
            uneven: pads[..2] != pads[2..],
        };
        let reaches = (0..2).all(|axis| sizes[axis] - window.after[axis] <= stride * window.taps()[axis] as i64);
        reaches.then_some(window)
    }

    /// Whether it is of kernel 4, stride 2 and padding 1.
    pub(super) fn doubles(&self) -> bool {
        *self == Self { kernel: [4; 2], stride: 2, before: [1; 2], after: [1; 2], uneven: false }
    }

    #[cfg(any(test, feature = "cuda"))]
    pub(super) fn is_uneven(&self) -> bool {
        self.uneven
    }

    /// Whether nothing is cut off, and nothing added.
    pub(super) fn is_whole(&self) -> bool {
        self.before == [0; 2] && self.after == [0; 2]
    }

    /// How many inputs a row, and a column, of the output is made of at most.
    pub(super) fn taps(&self) -> [usize; 2] {
        self.kernel.map(|size| size.div_ceil(self.stride))
    }

    /// The sizes of the output of an input of these.
    #[cfg(any(test, feature = "cuda"))]
    pub(super) fn output(&self, size: [usize; 2]) -> [i64; 2] {
        let whole = |axis: usize| (self.stride * (size[axis] - 1) + self.kernel[axis]) as i64;
        [0, 1].map(|axis| whole(axis) - self.before[axis] - self.after[axis])
    }
}
