//! The R1 gradient penalty: `gamma / 2 * mean |dD/dx|^2` on real images, which keeps the discriminator's slope around the
//! data small (Mescheder, Geiger & Nowozin, "Which training methods for GANs do actually converge?", 2018, equation 9).

use crate::net::{Gradients, Network};
use candle_core::{Result, Tensor, Var, bail};

/// The penalty for the logits of `network` on `real` images, and its gradients with respect to the network's parameters:
/// derivatives of the second order, by candle, through operators that can be differentiated any number of times.
///
/// # Errors
/// Images that do not fit the network; a process in which candle detaches gradients, which would leave out a part of the
/// penalty's gradient without a word.
pub fn penalty(network: &Network, real: &Tensor, gamma: f64) -> Result<(Tensor, Gradients)> {
    let tracked = network.map(|t| Ok(Var::from_tensor(t)?.into_inner()))?;
    let x = Var::from_tensor(real)?;
    let slopes = tracked.forward(&x)?.sum_all()?.backward()?;
    let Some(slope) = slopes.get(&x).filter(|slope| slope.track_op()) else {
        bail!("gradients of gradients are detached")
    };
    let penalty = (slope.sqr()?.sum_all()? * (gamma / 2. / real.dim(0)? as f64))?;
    let store = penalty.backward()?;
    // The last bias moves all logits alike: no slope depends on it.
    let gradient = |t: &Tensor| store.get(t).map_or_else(|| t.zeros_like(), |g| Ok(g.detach()));
    let parameters = tracked.parameters().into_iter().map(|(_, t)| gradient(t)).collect::<Result<_>>()?;
    Ok((penalty.detach(), Gradients { input: None, parameters }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::{Init, dcgan};
    use crate::ops::testing::device;
    use candle_core::DType;
    use runtime::ImageShape;

    /// The penalty by its definition, with the slope from one pass and back in f64.
    fn reference(network: &Network, real: &Tensor, gamma: f64) -> Result<f64> {
        let trace = network.trace(real)?;
        let ones = trace.output().ones_like()?;
        let wanted = crate::net::WantedGradients { input: true, parameters: false };
        let slope = trace.backward(&ones, wanted)?.input.expect("wanted");
        Ok(slope.sqr()?.sum_all()?.to_scalar::<f64>()? * gamma / 2. / real.dim(0)? as f64)
    }

    #[test]
    fn its_gradient_agrees_with_finite_differences() -> Result<()> {
        let image = ImageShape { channels: 2, height: 8, width: 12 };
        for batch_norm in [false, true] {
            let recipe = dcgan::Discriminator { width: 3, batch_norm };
            let network = dcgan::discriminator(&recipe, image, &mut Init::new(1))?;
            let network = network.map(|t| t.to_device(&device())?.to_dtype(DType::F64)? * 5.)?;
            let real = Init::new(2).normal(&[3, 8, 12, 2], 0., 1.)?.to_device(&device())?.to_dtype(DType::F64)?;
            // The value is read in f32 by training; its gradients are wanted in full here.
            let (tracked, x) = (network.map(|t| Ok(Var::from_tensor(t)?.into_inner()))?, Var::from_tensor(&real)?);
            let slopes = tracked.forward(&x)?.sum_all()?.backward()?;
            let slope = slopes.get(&x).expect("a gradient");
            let store = (slope.sqr()?.sum_all()? * (10. / 2. / 3.))?.backward()?;
            for (at, (name, parameter)) in network.parameters().into_iter().enumerate() {
                let tracked = tracked.parameters()[at].1.clone();
                let zero = tracked.zeros_like()?;
                let found = store.get(&tracked).unwrap_or(&zero).flatten_all()?.to_vec1::<f64>()?;
                let values = parameter.flatten_all()?.to_vec1::<f64>()?;
                for i in (0..values.len()).step_by(values.len().div_ceil(7)) {
                    let moved = |delta: f64| {
                        let mut index = 0;
                        let network = network.map(|t| {
                            index += 1;
                            if index - 1 != at {
                                return Ok(t.clone());
                            }
                            let mut values = values.clone();
                            values[i] += delta;
                            Tensor::from_vec(values, t.shape(), t.device())
                        })?;
                        reference(&network, &real, 10.)
                    };
                    let expected = (moved(1e-5)? - moved(-1e-5)?) / 2e-5;
                    assert!(
                        (found[i] - expected).abs() < 1e-5 * (1. + expected.abs()),
                        "batch norm {batch_norm}, {name}[{i}]: {} {expected}",
                        found[i]
                    );
                }
            }
        }
        Ok(())
    }

    #[test]
    fn training_gets_the_same_in_single_precision() -> Result<()> {
        let image = ImageShape { channels: 1, height: 8, width: 8 };
        let recipe = dcgan::Discriminator { width: 4, batch_norm: false };
        let network = dcgan::discriminator(&recipe, image, &mut Init::new(1))?.map(|t| t.to_device(&device()))?;
        let real = Init::new(2).normal(&[5, 8, 8, 1], 0., 1.)?.to_device(&device())?;
        let (value, gradients) = penalty(&network, &real, 10.)?;
        let value = value.to_scalar::<f32>()?;
        let wide = network.map(|t| t.to_dtype(DType::F64))?;
        let expected = reference(&wide, &real.to_dtype(DType::F64)?, 10.)?;
        assert!((f64::from(value) / expected - 1.).abs() < 1e-4, "{value} {expected}");
        assert_eq!(gradients.parameters.len(), network.parameters().len());
        let last = gradients.parameters.last().expect("the last bias");
        assert_eq!(last.flatten_all()?.to_vec1::<f32>()?, [0.]);
        Ok(())
    }
}
