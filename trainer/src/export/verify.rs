//! The exported file against candle: the same latents, through ONNX Runtime and through the network it was made from.

use super::samples;
use crate::error::{Error, Result};
use crate::graph::Network;
use runtime::{Generator, ModelInfo, Options, Precision, Provider};
use std::path::Path;

/// Images that are compared.
const COUNT: usize = 16;

/// The largest difference allowed, in units of the value range [-1, 1]. In f16 the output itself is rounded by up to
/// 2^-12 near 1, and a device that computes in f16 adds rounding in every layer.
pub(super) fn tolerance(precision: Precision) -> f32 {
    match precision {
        Precision::F16 => 0.02,
        Precision::F32 => 1e-3,
    }
}

/// Opens `path`, which also replays its self-test, samples from it, and returns the largest difference to `network`.
pub(super) fn parity(path: &Path, network: &Network, info: &ModelInfo) -> Result<f32> {
    let options = Options { provider: Provider::Cpu, max_batch: COUNT, ..Options::default() };
    let mut generator = Generator::open(path, &options)?;
    let (seed, first) = (info.self_test.seed, info.self_test.index);
    let mut drawn = vec![0f32; COUNT * info.image.len()];
    generator.sample(seed, first, &mut drawn)?;
    let expected = samples(network, info.latent_dim, info.precision, seed, first, COUNT)?;
    // A NaN on either side counts as infinitely far.
    let far = |a: f32, b: f32| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    let largest = drawn.iter().zip(&expected).map(|(&a, &b)| far(a, b)).fold(0., f32::max);
    let allowed = tolerance(info.precision);
    if largest > allowed {
        let what = format!("ONNX Runtime's samples differ from candle's by {largest}, allowed is {allowed}");
        return Err(Error::Export { path: path.to_owned(), what });
    }
    Ok(largest)
}
