//! The layers: what each computes, holds and makes of a shape.
//!
//! Images are channels last inside the trainer, [N, H, W, C]: a patch of them is made of long runs of memory, and a row
//! holds the channels that belong together. The exporter turns networks to ONNX's [N, C, H, W].

use crate::ops::{
    Activation, BatchStatistics, Geometry, Wanted, batch_norm, batch_norm_backward, conv, conv_backward,
    conv_transpose, conv_transpose_backward, linear, linear_backward,
};
use candle_core::{Result, Tensor, bail};

/// A weight and perhaps a bias, under a name that is unique in the network, and the activation that follows.
#[derive(Clone, Debug)]
pub struct Weights {
    /// The layer's name: its tensors are `name.weight` and `name.bias` in every file.
    pub name: String,
    /// Linear: [out, in]. Convolution: [out, kh, kw, in / groups]. Transposed convolution: [in, kh, kw, out / groups].
    pub weight: Tensor,
    /// `[out]`.
    pub bias: Option<Tensor>,
    /// Applied to the result.
    pub activation: Activation,
}

/// One layer of a network.
#[derive(Clone, Debug)]
pub enum Layer {
    /// `x W' + b`, [N, in] -> [N, out].
    Linear(Weights),
    /// Convolution, [N, H, W, C] -> [N, h, w, O].
    Conv2d(Weights, Geometry),
    /// Transposed convolution, [N, h, w, C] -> [N, H, W, O].
    ConvTranspose2d(Weights, Geometry),
    /// Batch normalisation by the statistics of the batch, [N, ..., C]; networks that are run or exported have it folded
    /// into the layer before.
    BatchNorm {
        /// The layer's name: its tensors are `name.gamma` and `name.beta`.
        name: String,
        /// Scale, `[C]`.
        gamma: Tensor,
        /// Shift, `[C]`.
        beta: Tensor,
        /// Added to the variance.
        eps: f64,
        /// Applied to the result.
        activation: Activation,
    },
    /// Gives each sample this shape, elements in the same order.
    Reshape(Vec<usize>),
}

impl Layer {
    /// The output for a batch; a batch normalisation adds what it found to `statistics`.
    pub(super) fn forward(&self, x: &Tensor, statistics: &mut Vec<BatchStatistics>) -> Result<Tensor> {
        match self {
            Self::Linear(w) => linear(x, &w.weight, w.bias.as_ref(), w.activation),
            Self::Conv2d(w, geometry) => conv(x, &w.weight, w.bias.as_ref(), w.activation, *geometry),
            Self::ConvTranspose2d(w, geometry) => {
                conv_transpose(x, &w.weight, w.bias.as_ref(), w.activation, *geometry)
            }
            Self::BatchNorm { gamma, beta, eps, activation, .. } => {
                let (y, found) = batch_norm(x, gamma, beta, *eps, *activation)?;
                statistics.push(found);
                Ok(y)
            }
            Self::Reshape(shape) => reshape(x, shape),
        }
    }

    /// The gradient with respect to the input, where it is wanted, from that with respect to the output `y`; gradients of
    /// the layer's own tensors, where they are wanted, are put before those in `parameters`, in reverse. A batch
    /// normalisation takes its statistics from the end of `statistics`.
    pub(super) fn backward(
        &self,
        [x, y, grad]: [&Tensor; 3],
        statistics: &mut Vec<BatchStatistics>,
        input: bool,
        parameters: Option<&mut Vec<Tensor>>,
    ) -> Result<Option<Tensor>> {
        let own = parameters.is_some();
        let wanted = |w: &Weights| Wanted { input, weight: own, bias: own && w.bias.is_some() };
        let grads = match self {
            Self::Linear(w) => linear_backward([x, &w.weight, y, grad], w.activation, wanted(w))?,
            Self::Conv2d(w, geometry) => conv_backward([x, &w.weight, y, grad], w.activation, *geometry, wanted(w))?,
            Self::ConvTranspose2d(w, geometry) => {
                conv_transpose_backward([x, &w.weight, y, grad], w.activation, *geometry, wanted(w))?
            }
            Self::BatchNorm { name, gamma, beta, eps, activation } => {
                let Some(found) = statistics.pop() else { bail!("no statistics for batch normalisation {name}") };
                let [dx, dgamma, dbeta] = batch_norm_backward([x, gamma, beta, grad], &found, *eps, *activation)?;
                if let Some(parameters) = parameters {
                    parameters.extend([dbeta, dgamma]);
                }
                return Ok(Some(dx));
            }
            Self::Reshape(_) => return Ok(Some(grad.reshape(x.shape())?)),
        };
        if let Some(parameters) = parameters {
            parameters.extend(grads.bias.into_iter().chain(grads.weight));
        }
        Ok(grads.input)
    }

    /// The shape of one sample after this layer.
    pub(super) fn output_shape(&self, input: &[usize]) -> Result<Vec<usize>> {
        let fitted = match (self, input) {
            (Self::Linear(w), [n]) => {
                let (outputs, inputs) = w.weight.dims2()?;
                (inputs == *n).then(|| vec![outputs])
            }
            (Self::Conv2d(w, g), _) => g.conv_shape(input, w.weight.dims()),
            (Self::ConvTranspose2d(w, g), _) => g.transposed_shape(input, w.weight.dims()),
            (Self::BatchNorm { gamma, .. }, [.., c]) => (gamma.dims1()? == *c).then(|| input.to_vec()),
            (Self::Reshape(shape), _) => {
                (shape.iter().product::<usize>() == input.iter().product::<usize>()).then(|| shape.clone())
            }
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
            Self::Reshape(_) => Vec::new(),
        }
    }

    /// The same layer with `f` applied to its tensors, in the order of [`Self::parameters`].
    pub(crate) fn map(&self, f: &mut dyn FnMut(&Tensor) -> Result<Tensor>) -> Result<Self> {
        let mut weights = |w: &Weights| -> Result<Weights> {
            Ok(Weights {
                name: w.name.clone(),
                weight: f(&w.weight)?,
                bias: w.bias.as_ref().map(&mut *f).transpose()?,
                activation: w.activation,
            })
        };
        Ok(match self {
            Self::Linear(w) => Self::Linear(weights(w)?),
            Self::Conv2d(w, g) => Self::Conv2d(weights(w)?, *g),
            Self::ConvTranspose2d(w, g) => Self::ConvTranspose2d(weights(w)?, *g),
            Self::BatchNorm { name, gamma, beta, eps, activation } => Self::BatchNorm {
                name: name.clone(),
                gamma: f(gamma)?,
                beta: f(beta)?,
                eps: *eps,
                activation: *activation,
            },
            Self::Reshape(_) => self.clone(),
        })
    }
}

/// `x` [N, ...] with samples of this shape.
fn reshape(x: &Tensor, sample: &[usize]) -> Result<Tensor> {
    let mut whole = vec![x.dim(0)?];
    whole.extend(sample);
    x.reshape(whole)
}
