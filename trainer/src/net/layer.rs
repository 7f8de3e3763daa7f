//! The layers: what each computes, holds and makes of a shape.

use crate::ops::{BatchStatistics, Geometry, add_channel_bias, batch_norm, conv_transpose2d, conv2d, leaky_relu};
use candle_core::{Result, Tensor, bail};

/// A weight and perhaps a bias, under a name that is unique in the network.
#[derive(Clone, Debug)]
pub struct Weights {
    /// The layer's name: its tensors are `name.weight` and `name.bias` in every file.
    pub name: String,
    /// Linear: [in, out]. Convolution: [out, in, kh, kw]. Transposed convolution: [in, out, kh, kw].
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Option<Tensor>,
}

/// One layer of a network.
#[derive(Clone, Debug)]
pub enum Layer {
    /// `x W + b`, [N, in] -> [N, out].
    Linear(Weights),
    /// Convolution, [N, C, H, W] -> [N, O, h, w].
    Conv2d(Weights, Geometry),
    /// Transposed convolution, [N, C, h, w] -> [N, O, H, W].
    ConvTranspose2d(Weights, Geometry),
    /// Batch normalisation by the statistics of the batch, [N, C, ...]; networks that are run or exported have it
    /// folded into the layer before.
    BatchNorm {
        /// The layer's name: its tensors are `name.gamma` and `name.beta`.
        name: String,
        /// Scale, `[C]`.
        gamma: Tensor,
        /// Shift, `[C]`.
        beta: Tensor,
        /// Added to the variance.
        eps: f64,
    },
    /// `max(x, 0) + slope * min(x, 0)`.
    LeakyRelu(f64),
    /// `max(x, 0)`.
    Relu,
    /// Hyperbolic tangent.
    Tanh,
    /// Gives each sample this shape, elements in the same order.
    Reshape(Vec<usize>),
}

impl Layer {
    /// The output for a batch; a batch normalisation adds what it found to `statistics`.
    pub(super) fn forward(&self, x: &Tensor, statistics: &mut Vec<BatchStatistics>) -> Result<Tensor> {
        let with_bias = |y: Tensor, w: &Weights| match &w.bias {
            Some(bias) => add_channel_bias(&y, bias),
            None => Ok(y),
        };
        match self {
            Self::Linear(w) => with_bias(x.matmul(&w.weight)?, w),
            Self::Conv2d(w, geometry) => with_bias(conv2d(x, &w.weight, *geometry)?, w),
            Self::ConvTranspose2d(w, geometry) => with_bias(conv_transpose2d(x, &w.weight, *geometry)?, w),
            Self::BatchNorm { gamma, beta, eps, .. } => {
                let (y, found) = batch_norm(x, gamma, beta, *eps)?;
                statistics.push(found);
                Ok(y)
            }
            Self::LeakyRelu(slope) => leaky_relu(x, *slope),
            Self::Relu => leaky_relu(x, 0.),
            Self::Tanh => x.tanh(),
            Self::Reshape(shape) => {
                let mut whole = vec![x.dim(0)?];
                whole.extend(shape);
                x.reshape(whole)
            }
        }
    }

    /// The shape of one sample after this layer.
    pub(super) fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let fitted = match (self, input) {
            (Self::Linear(w), [n]) => {
                let (inputs, outputs) = w.weight.dims2()?;
                (inputs == *n).then(|| vec![outputs])
            }
            (Self::Conv2d(w, g), [c, h, wd]) => {
                let (o, i, kh, kw) = w.weight.dims4()?;
                let size = g.conv_size(*h, kh).zip(g.conv_size(*wd, kw));
                size.filter(|_| i == *c).map(|(h, w)| vec![o, h, w])
            }
            (Self::ConvTranspose2d(w, g), [c, h, wd]) => {
                let (i, o, kh, kw) = w.weight.dims4()?;
                let size = g.transposed_size(*h, kh).zip(g.transposed_size(*wd, kw));
                size.filter(|_| i == *c).map(|(h, w)| vec![o, h, w])
            }
            (Self::BatchNorm { gamma, .. }, [c, ..]) => (gamma.dims1()? == *c).then(|| input.to_vec()),
            (Self::Reshape(shape), _) => {
                (shape.iter().product::<usize>() == input.iter().product::<usize>()).then(|| shape.clone())
            }
            (Self::LeakyRelu(_) | Self::Relu | Self::Tanh, _) => Some(input.to_vec()),
            _ => None,
        };
        match fitted {
            Some(shape) => Ok(shape),
            None => bail!("a sample of shape {input:?} does not fit layer {self:?}"),
        }
    }

    /// The layer's tensors under their stable names.
    pub(super) fn parameters(&self) -> Vec<(String, &Tensor)> {
        match self {
            Self::Linear(w) | Self::Conv2d(w, _) | Self::ConvTranspose2d(w, _) => {
                let weight = (format!("{}.weight", w.name), &w.weight);
                std::iter::once(weight).chain(w.bias.as_ref().map(|b| (format!("{}.bias", w.name), b))).collect()
            }
            Self::BatchNorm { name, gamma, beta, .. } => {
                vec![(format!("{name}.gamma"), gamma), (format!("{name}.beta"), beta)]
            }
            Self::LeakyRelu(_) | Self::Relu | Self::Tanh | Self::Reshape(_) => Vec::new(),
        }
    }

    /// The same layer with `f` applied to its tensors.
    pub(crate) fn map(&self, f: impl Fn(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let weights = |w: &Weights| -> Result<Weights> {
            Ok(Weights { name: w.name.clone(), weight: f(&w.weight)?, bias: w.bias.as_ref().map(&f).transpose()? })
        };
        Ok(match self {
            Self::Linear(w) => Self::Linear(weights(w)?),
            Self::Conv2d(w, g) => Self::Conv2d(weights(w)?, *g),
            Self::ConvTranspose2d(w, g) => Self::ConvTranspose2d(weights(w)?, *g),
            Self::BatchNorm { name, gamma, beta, eps } => {
                Self::BatchNorm { name: name.clone(), gamma: f(gamma)?, beta: f(beta)?, eps: *eps }
            }
            Self::LeakyRelu(_) | Self::Relu | Self::Tanh | Self::Reshape(_) => self.clone(),
        })
    }
}
