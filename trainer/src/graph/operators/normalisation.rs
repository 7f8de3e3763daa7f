//! Normalisation of each sample by itself: layer, group, instance and pixel normalisation.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved};
use crate::onnx::{Attribute, Edge, Onnx, channels_first};
use crate::ops::{self, Norm};
use candle_core::{Result, Tensor, bail};

/// What is brought to mean 0 and variance 1, or for pixels only to a mean square of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Normalised {
    /// This many groups of neighbouring channels of a sample (Wu & He, 2018): 1 for layer normalisation (Ba et al., 2016), as
    /// many as channels for instance normalisation (Ulyanov et al., 2016).
    Groups(usize),
    /// The channels of each pixel (Karras et al., "Progressive growing of GANs", 2018, section 4.2).
    Pixels,
}

/// `gamma u + beta` with the normalised `u`: `x` `[.., C]`, and perhaps `gamma` and `beta` `[C]` -> `[.., C]`.
#[derive(Clone, Copy, Debug)]
pub struct Normalisation {
    /// What is normalised.
    pub normalised: Normalised,
    /// Added to the variance.
    pub eps: f64,
}

impl Normalisation {
    fn norm(&self) -> Result<Norm> {
        match self.normalised {
            Normalised::Groups(groups) => Norm::groups(groups, self.eps),
            Normalised::Pixels => Norm::pixels(self.eps),
        }
    }
}

impl Operator for Normalisation {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        let (x, alike) = match from {
            [x @ [.., _]] => (x, true),
            [x @ [.., c], [gamma], [beta]] => (x, gamma == c && beta == c),
            _ => bail!("a normalisation takes [.., C], and [C] twice or not at all, got {from:?}"),
        };
        let divides = match self.normalised {
            Normalised::Groups(groups) => groups > 0 && x[x.len() - 1] % groups == 0,
            Normalised::Pixels => true,
        };
        if !(alike && divides) {
            bail!("{self:?} does not fit {from:?}")
        }
        Ok(x.to_vec())
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let y = match from {
            [x, gamma, beta] => self.norm()?.apply(x, gamma, beta)?,
            _ => self.norm()?.apply_plain(from[0])?,
        };
        Ok((y, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, wanted: &[bool]) -> Result<OperandGradients> {
        match context.from {
            [x, gamma, _] if wanted[1] || wanted[2] => {
                let found = self.norm()?.gradients(x, gamma, grad)?;
                Ok(vec![Some(found.input), Some(found.gamma), Some(found.beta)])
            }
            [x, gamma, _] => Ok(vec![Some(self.norm()?.input_grad(x, gamma, grad)?), None, None]),
            _ => Ok(vec![Some(self.norm()?.tangent(context.from[0], grad)?)]),
        }
    }

    fn tangent(&self, context: Context<'_>, along: &[Option<&Tensor>]) -> Result<Tensor> {
        let Some(Some(t)) = along.first() else { bail!("a normalisation has a tangent along its input only") };
        let moved = self.norm()?.tangent(context.from[0], t)?;
        match context.from.get(1) {
            Some(gamma) => ops::channel_scale(&moved, gamma),
            None => Ok(moved),
        }
    }

    fn tangent_backward(
        &self,
        context: Context<'_>,
        along: &[Option<&Tensor>],
        _: &Tensor,
        adjoint: &Tensor,
        wanted: &[bool],
    ) -> Result<OperandGradients> {
        let (Some(Some(t)), x, norm) = (along.first(), context.from[0], self.norm()?) else {
            return Ok(vec![None; wanted.len()]);
        };
        let Some(gamma) = context.from.get(1) else {
            return Ok(vec![wanted[0].then(|| norm.second(x, t, adjoint)).transpose()?]);
        };
        Ok(vec![
            wanted[0].then(|| norm.second(x, t, &ops::channel_scale(adjoint, gamma)?)).transpose()?,
            wanted[1].then(|| ops::channel_dot(adjoint, &norm.tangent(x, t)?)).transpose()?,
            None,
        ])
    }

    fn emit(&self, onnx: &mut Onnx, from: &[Edge]) -> Result<Edge> {
        let (x, sample) = from[0].computed()?;
        let (x, sample) = (x.to_owned(), sample.to_vec());
        let name = |edge: &Edge| Ok::<_, candle_core::Error>(edge.computed()?.0.to_owned());
        let normal = match self.normalised {
            Normalised::Pixels => {
                let square = onnx.apply("Mul", vec![x.clone(), x.clone()], vec![], sample.clone());
                let axes = vec![Attribute::ints("axes", vec![1]), Attribute::int("keepdims", 1)];
                let mean = onnx.map("ReduceMean", &square, axes)?;
                let eps = onnx.number(self.eps)?;
                let moved = onnx.apply("Add", vec![name(&mean)?, eps], vec![], sample.clone());
                let root = onnx.map("Sqrt", &moved, vec![])?;
                onnx.apply("Div", vec![x, name(&root)?], vec![], sample.clone())
            }
            Normalised::Groups(groups) => {
                // Groups are neighbours in the file's order: each becomes a channel of its own.
                let rows = onnx.reshape(&from[0], &[groups, sample.iter().product::<usize>() / groups], &sample)?;
                let device = &candle_core::Device::Cpu;
                let (ones, zeros) = (format!("ones{groups}"), format!("zeros{groups}"));
                let ones = onnx.weight(&ones, Tensor::ones(groups, candle_core::DType::F32, device)?);
                let zeros = onnx.weight(&zeros, Tensor::zeros(groups, candle_core::DType::F32, device)?);
                let eps = vec![Attribute::float("epsilon", self.eps as f32)];
                let normal = onnx.apply("InstanceNormalization", vec![name(&rows)?, ones, zeros], eps, sample.clone());
                onnx.reshape(&normal, &channels_first(&sample), &sample)?
            }
        };
        match from {
            [_, gamma, beta] => {
                let affine = super::ChannelAffine { activation: ops::Activation::None };
                affine.emit(onnx, &[normal, gamma.clone(), beta.clone()])
            }
            _ => Ok(normal),
        }
    }
}
