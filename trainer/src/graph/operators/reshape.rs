//! Other sizes for the same elements.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Attribute, Edge, Onnx, channels_first};
use candle_core::{Result, Tensor, bail};

/// In which order a vector lists the elements of an image, where a reshape makes one of the other.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Layout {
    /// As the trainer's images lie in memory.
    #[default]
    ChannelsLast,
    /// As the file's do.
    ChannelsFirst,
}

/// Gives each sample this shape.
#[derive(Clone, Debug)]
pub struct Reshape {
    /// The shape of a sample.
    pub sample: Vec<usize>,
    /// Of a vector that becomes an image or was one; others are not concerned.
    pub layout: Layout,
}

impl Reshape {
    /// Elements in the trainer's order.
    pub fn to(sample: &[usize]) -> Self {
        Self { sample: sample.to_vec(), layout: Layout::default() }
    }
}

impl Operator for Reshape {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [x] if x.iter().product::<usize>() == self.sample.iter().product::<usize>() => Ok(self.sample.clone()),
            _ => bail!("samples of {from:?} cannot have the shape {:?}", self.sample),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        Ok((reshape(x, &self.sample, self.layout)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let [x] = operands(self, context.from)?;
        Ok(vec![Some(reshape(grad, &x.dims()[1..], self.layout)?)])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (_, sample) = from[0].computed()?;
        let (before, after) = (sample.to_vec(), &self.sample);
        // A vector in the file's order, and images that keep their channels, are the same elements in the same order.
        let same = match (before.len(), after.len()) {
            (0 | 1, 0 | 1) => true,
            (0 | 1, _) | (_, 0 | 1) => self.layout == Layout::ChannelsFirst,
            _ => before.last() == after.last(),
        };
        if same {
            return onnx.reshape(&from[0], &channels_first(after), after);
        }
        // Through the trainer's order.
        let last = turn(onnx, &from[0], true)?;
        let reshaped = onnx.reshape(&last, after, after)?;
        turn(onnx, &reshaped, false)
    }
}

/// `x` [N, ...] with samples of this shape.
fn reshape(x: &Tensor, sample: &[usize], layout: Layout) -> Result<Tensor> {
    let n = x.dim(0)?;
    let whole = [&[n][..], sample].concat();
    match (layout, x.rank() - 1, sample.len()) {
        (Layout::ChannelsFirst, 1, 2..) => {
            let first = [&[n][..], &channels_first(sample)].concat();
            let axes: Vec<usize> = [0].into_iter().chain(2..first.len()).chain([1]).collect();
            x.reshape(first)?.permute(axes)?.contiguous()
        }
        (Layout::ChannelsFirst, 2.., 1) => {
            let axes: Vec<usize> = [0, x.rank() - 1].into_iter().chain(1..x.rank() - 1).collect();
            x.permute(axes)?.contiguous()?.reshape(whole)
        }
        _ => x.reshape(whole),
    }
}

/// Moves the channels of the file's images to the end, or back. Vectors stay.
fn turn(onnx: &mut Onnx, edge: &Edge, last: bool) -> Result<Edge> {
    let (name, sample) = edge.computed()?;
    let rank = sample.len() as i64 + 1;
    if rank < 3 {
        return Ok(edge.clone());
    }
    let axes = match last {
        true => [0].into_iter().chain(2..rank).chain([1]).collect(),
        false => [0, rank - 1].into_iter().chain(1..rank - 1).collect(),
    };
    let (name, sample) = (name.to_owned(), sample.to_vec());
    Ok(onnx.apply("Transpose", vec![name], vec![Attribute::ints("perm", axes)], sample))
}
