//! Batch normalisation folded into the layer before it.

use super::{Layer, Network, Weights};
use crate::ops::{Activation, BatchStatistics};
use candle_core::{Result, Tensor, bail};

impl Network {
    /// The network that computes the same with fixed statistics, one for each batch normalisation in order: with
    /// `a = gamma / sqrt(variance + eps)`, weights become `a w` and biases `a b + beta - a mean`. No batch normalisation
    /// is left, and its activation is the layer's. Computed in the weights' own type, before any rounding to half precision.
    ///
    /// # Errors
    /// A batch normalisation that does not follow a linear layer or a convolution (a reshape may lie between), or
    /// another number of statistics.
    pub fn fold_batch_norm(&self, statistics: &[BatchStatistics]) -> Result<Self> {
        let mut folded: Vec<Layer> = Vec::with_capacity(self.layers.len());
        let mut statistics = statistics.iter();
        for layer in &self.layers {
            let Layer::BatchNorm { name, gamma, beta, eps, activation } = layer else {
                folded.push(layer.clone());
                continue;
            };
            let Some(found) = statistics.next() else { bail!("no statistics for batch normalisation {name}") };
            let (scale, shift) = affine(gamma, beta, *eps, found)?;
            let reshaped = matches!(folded.last(), Some(Layer::Reshape(_)));
            let before = folded.len().checked_sub(1 + usize::from(reshaped)).and_then(|i| folded.get_mut(i));
            let weights = before.and_then(Layer::weights_mut).filter(|(w, _)| w.activation == Activation::None);
            let Some((weights, axis)) = weights else {
                bail!("batch normalisation {name} follows no linear layer or convolution to fold into")
            };
            scale_outputs(weights, axis, &scale, &shift)?;
            weights.activation = *activation;
        }
        Ok(Self { layers: folded })
    }
}

/// The `scale` and `shift` of each channel that the normalisation amounts to.
fn affine(gamma: &Tensor, beta: &Tensor, eps: f64, found: &BatchStatistics) -> Result<(Tensor, Tensor)> {
    let to_tensor = |values: Vec<f64>| Tensor::new(values, gamma.device())?.to_dtype(gamma.dtype());
    let [mean, variance] = found.vectors()?;
    let inverse_sigma = to_tensor(variance.iter().map(|v| (v + eps).sqrt().recip()).collect())?;
    let scale = (gamma * inverse_sigma)?;
    let shift = (beta - (to_tensor(mean)? * &scale)?)?;
    Ok((scale, shift))
}

impl Layer {
    /// The layer's weights, and the axis of their outputs.
    fn weights_mut(&mut self) -> Option<(&mut Weights, usize)> {
        match self {
            Self::Linear(w) | Self::Conv2d(w, _) => Some((w, 0)),
            Self::ConvTranspose2d(w, _) => Some((w, 3)),
            _ => None,
        }
    }
}

/// Multiplies output channels by `scale` and adds `shift`. A linear layer whose outputs are reshaped to an image has all
/// channels of the first position, then all of the second.
fn scale_outputs(w: &mut Weights, axis: usize, scale: &Tensor, shift: &Tensor) -> Result<()> {
    let (outputs, channels) = (w.weight.dim(axis)?, scale.dims1()?);
    if outputs % channels != 0 {
        bail!("layer {}: {outputs} outputs are no multiple of {channels} channels", w.name)
    }
    let repeated = |t: &Tensor| t.repeat(outputs / channels);
    let (scale, shift) = (repeated(scale)?, repeated(shift)?);
    let mut along = vec![1; w.weight.rank()];
    along[axis] = outputs;
    w.weight = w.weight.broadcast_mul(&scale.reshape(along)?)?;
    w.bias = Some(match &w.bias {
        Some(bias) => ((bias * scale)? + shift)?,
        None => shift,
    });
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Init, dcgan};
    use super::*;
    use runtime::ImageShape;

    #[test]
    fn the_folded_network_computes_the_same() -> Result<()> {
        let image = ImageShape { channels: 3, height: 16, width: 16 };
        let net = dcgan::generator(&dcgan::Generator { latent: 10, width: 4 }, image, &mut Init::new(3))?;
        let z = Init::new(4).normal(&[6, 10], 0., 1.)?;
        let (expected, statistics) = net.forward_recording(&z)?;
        let folded = net.fold_batch_norm(&statistics)?;
        assert!(!folded.layers().iter().any(|l| matches!(l, Layer::BatchNorm { .. })));
        let largest = (folded.forward(&z)? - expected)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()?;
        assert!(largest < 1e-5, "differs by {largest}");
        assert!(net.fold_batch_norm(&statistics[1..]).is_err(), "a statistic is missing");
        Ok(())
    }
}
