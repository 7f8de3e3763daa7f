//! The way through a network and back, once, without candle's graph: its backward pass clears and adds up every gradient,
//! which costs a chain of layers more than the layers do, and it keeps all of them to the end.

use super::Network;
use crate::ops::BatchStatistics;
use candle_core::{Result, Tensor, bail};

/// What a network made of a batch, layer by layer.
#[derive(Debug)]
pub struct Trace<'a> {
    network: &'a Network,
    /// The input, then the output of every layer.
    values: Vec<Tensor>,
    statistics: Vec<BatchStatistics>,
}

/// Which gradients are wanted; the others are not computed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WantedGradients {
    /// With respect to the network's input.
    pub input: bool,
    /// With respect to its parameters.
    pub parameters: bool,
}

/// Gradients of a network, as far as they were wanted.
#[derive(Clone, Debug)]
pub struct Gradients {
    /// With respect to the input, of its shape.
    pub input: Option<Tensor>,
    /// With respect to the parameters, in the order of [`Network::parameters`].
    pub parameters: Vec<Tensor>,
}

impl Gradients {
    /// The sum of the gradients of two batches with respect to the parameters.
    ///
    /// # Errors
    /// Gradients of other networks.
    pub fn plus(self, other: &Self) -> Result<Self> {
        let parameters = self.parameters.iter().zip(&other.parameters).map(|(a, b)| a + b).collect::<Result<_>>()?;
        Ok(Self { input: None, parameters })
    }

    /// Those of a loss that is `scale`, `[1]`, times as large, with respect to the parameters.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn times(self, scale: &Tensor) -> Result<Self> {
        let parameters = self.parameters.iter().map(|g| g.broadcast_mul(scale)).collect::<Result<_>>()?;
        Ok(Self { input: None, parameters })
    }
}

impl<'a> Trace<'a> {
    pub(super) fn new(network: &'a Network, x: &Tensor) -> Result<Self> {
        let (mut values, mut statistics) = (vec![x.detach()], Vec::new());
        for layer in network.layers() {
            let y = layer.forward(&values[values.len() - 1], &mut statistics)?;
            values.push(y);
        }
        Ok(Self { network, values, statistics })
    }

    /// What the network made of the batch.
    pub fn output(&self) -> &Tensor {
        &self.values[self.values.len() - 1]
    }

    /// The gradients of a loss, from its gradient with respect to the output.
    ///
    /// # Errors
    /// A gradient of another shape than the output's.
    pub fn backward(mut self, grad: &Tensor, wanted: WantedGradients) -> Result<Gradients> {
        if grad.shape() != self.output().shape() {
            bail!("the gradient is {:?}, the output {:?}", grad.dims(), self.output().dims())
        }
        let grad = grad.detach().to_dtype(self.output().dtype())?;
        let (mut grad, mut parameters) = (Some(grad), Vec::new());
        for (i, layer) in self.network.layers().iter().enumerate().rev() {
            // What has been passed is let go.
            let (Some(y), Some(g)) = (self.values.pop(), grad) else { bail!("layer {i} passed no gradient on") };
            let (own, input) = (wanted.parameters.then_some(&mut parameters), i > 0 || wanted.input);
            grad = layer.backward([&self.values[i], &y, &g], &mut self.statistics, input, own)?;
        }
        parameters.reverse();
        Ok(Gradients { input: grad.filter(|_| wanted.input), parameters })
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Init, dcgan};
    use super::*;
    use candle_core::{DType, Var};
    use runtime::ImageShape;

    /// Against candle's own backward pass through the same operators, generator and discriminator, with and without batch
    /// normalisation.
    #[test]
    fn gradients_are_those_of_candle() -> Result<()> {
        let image = ImageShape { channels: 3, height: 16, width: 16 };
        let mut init = Init::new(3);
        for (network, input) in [
            (dcgan::generator(&dcgan::Generator { latent: 10, width: 4 }, image, &mut init)?, &[5, 10][..]),
            (
                dcgan::discriminator(&dcgan::Discriminator { width: 4, batch_norm: true }, image, &mut init)?,
                &[5, 16, 16, 3],
            ),
            (
                dcgan::discriminator(&dcgan::Discriminator { width: 4, batch_norm: false }, image, &mut init)?,
                &[5, 16, 16, 3],
            ),
        ] {
            // In f64, with larger weights than a network starts with: nothing is lost to rounding.
            let network = network.map(|t| Ok(Var::from_tensor(&(t.to_dtype(DType::F64)? * 5.)?)?.into_inner()))?;
            let x = Var::from_tensor(&init.normal(input, 0., 1.)?.to_dtype(DType::F64)?)?;
            let y = network.forward(&x)?;
            let weights = init.normal(y.dims(), 0., 1.)?.to_dtype(DType::F64)?;
            let expected = (&y * &weights)?.sum_all()?.backward()?;
            let plain = network.map(|t| Ok(t.detach()))?;
            let trace = plain.trace(&x)?;
            let found = trace.backward(&weights, WantedGradients { input: true, parameters: true })?;
            let far = |a: &Tensor, b: &Tensor| (a - b)?.abs()?.max_all()?.to_scalar::<f64>();
            let expect = |t: &Tensor| expected.get(t).ok_or_else(|| candle_core::Error::Msg("no gradient".into()));
            assert!(far(found.input.as_ref().expect("wanted"), expect(&x)?)? < 1e-10);
            assert_eq!(found.parameters.len(), network.parameters().len());
            for ((name, parameter), grad) in network.parameters().into_iter().zip(&found.parameters) {
                let (far, size) = (far(grad, expect(parameter)?)?, grad.abs()?.max_all()?.to_scalar::<f64>()?);
                assert!(far < 1e-9 * size.max(1.), "{name}: differs by {far}");
            }
            let input = plain.trace(&x)?.backward(&weights, WantedGradients { input: true, parameters: false })?;
            assert!(input.parameters.is_empty() && far(&input.input.expect("wanted"), expect(&x)?)? < 1e-10);
        }
        Ok(())
    }
}
