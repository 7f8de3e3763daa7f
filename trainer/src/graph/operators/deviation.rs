//! How much the samples of a batch differ: what shows a discriminator that a generator has collapsed (Karras et al.,
//! "Progressive growing of GANs", 2018, section 3).

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use candle_core::{D, DType, Result, Tensor, bail};

/// Added to the variance.
const EPS: f64 = 1e-8;

/// `[.., C]` -> `[.., C + 1]`: one more channel, the same everywhere, which is the mean over all elements of a sample of
/// their standard deviation among `group` samples. Of a batch of N, sample `n` belongs to the group `n mod (N / group)`.
#[derive(Clone, Copy, Debug)]
pub struct MinibatchDeviation {
    /// Samples that are compared; all of them where the batch has no more.
    pub group: usize,
}

impl MinibatchDeviation {
    /// [group, groups, elements].
    fn groups(&self, x: &Tensor) -> Result<Tensor> {
        let n = x.dim(0)?;
        let group = self.group.min(n);
        if group == 0 || n % group != 0 {
            bail!("a minibatch of {n} has no groups of {group}: the batch must be a multiple of the group")
        }
        x.reshape((group, n / group, ()))
    }

    /// The differences from the group's mean, [group, groups, elements], and the deviations, [1, groups, elements], in single
    /// precision at least.
    fn deviations(&self, x: &Tensor) -> Result<(Tensor, Tensor)> {
        // Squares of small differences, and what is added to them, are nothing in half precision.
        let x = if x.dtype().size_in_bytes() < DType::F32.size_in_bytes() { &x.to_dtype(DType::F32)? } else { x };
        let groups = self.groups(x)?;
        let centred = groups.broadcast_sub(&groups.mean_keepdim(0)?)?;
        let deviations = (centred.sqr()?.mean_keepdim(0)? + EPS)?.sqrt()?;
        Ok((centred, deviations))
    }
}

impl Operator for MinibatchDeviation {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        match from {
            [[positions @ .., channels]] => Ok([positions, &[channels + 1]].concat()),
            _ => bail!("the deviation of a minibatch takes [.., C], got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        let (_, deviations) = self.deviations(x)?;
        let group = self.group.min(x.dim(0)?);
        // [N, 1, .., 1], sample by sample.
        let mut shape = vec![1; x.rank()];
        shape[0] = x.dim(0)?;
        let mean = deviations.mean(D::Minus1)?.to_dtype(x.dtype())?;
        let mean = mean.broadcast_as((group, shape[0] / group))?.contiguous()?.reshape(shape)?;
        let mut channel = x.dims().to_vec();
        channel[x.rank() - 1] = 1;
        let y = Tensor::cat(&[x, &mean.broadcast_as(channel)?.contiguous()?], D::Minus1)?;
        Ok((y, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let [x] = operands(self, context.from)?;
        let channels = x.dim(D::Minus1)?;
        let through = grad.narrow(D::Minus1, 0, channels)?;
        let (centred, deviations) = self.deviations(x)?;
        let (group, groups, elements) = centred.dims3()?;
        // Of the group's number: every place of every sample has it.
        let of_mean = grad.narrow(D::Minus1, channels, 1)?.contiguous()?;
        let of_mean = of_mean.to_dtype(centred.dtype())?.reshape((group, groups, ()))?;
        let of_mean = of_mean.sum(2)?.sum_keepdim(0)?.unsqueeze(2)?;
        let slope = (centred.broadcast_div(&deviations)? / (group * elements) as f64)?;
        let slope = slope.broadcast_mul(&of_mean)?.to_dtype(grad.dtype())?;
        Ok(vec![Some((through + slope.reshape(x.shape())?)?)])
    }

    fn tangent(&self, _: Context<'_>, _: &[Option<&Tensor>]) -> Result<Tensor> {
        bail!("the deviation of a minibatch has no tangent of one sample: samples see each other")
    }

    fn emit(&self, _: &mut Onnx, _: &[Edge]) -> Result<Edge> {
        bail!("a generator that compares the samples of a batch cannot be exported")
    }

    fn mixes_samples(&self) -> bool {
        true
    }
}
