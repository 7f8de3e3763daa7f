//! The exported file against candle: the same latents, through ONNX Runtime and through the network it was made from.

use super::{Given, has_alpha, samples};
use crate::error::{Error, Result};
use crate::graph::Network;
use crate::graph::operators::LEAST_ALPHA;
use runtime::{Generator, ImageShape, ModelInfo, Options, Precision, Provider, Request, Start};
use std::path::Path;

/// Images that are compared, if they are not too large for that.
const COUNT: usize = 16;

/// Bytes that these images take at most on their way, unless one takes more.
const BYTES: u64 = 256 << 20;

/// What bytes of int8 that are one off change at most, with room: what is computed in f32 before them has other last bits on
/// other processors, and a number that lies between two bytes becomes the other one. Integers are the same everywhere.
const ONE_OFF: f32 = 0.05;

/// The largest difference that a file's self-test allows on whatever device, in units of the value range [-1, 1]. In f16 the
/// output itself is rounded by up to 2^-12 near 1, and a device that computes in f16 adds rounding in every layer.
pub(super) fn tolerance(precision: Precision) -> f32 {
    match precision {
        Precision::F16 => 0.02,
        Precision::F32 => 1e-3,
        Precision::Int8 => ONE_OFF,
    }
}

/// The largest difference allowed here, on the CPU, where weights are in half precision but sums are not.
fn allowed(precision: Precision) -> f32 {
    match precision {
        Precision::F16 => 2e-3,
        Precision::F32 => 1e-5,
        Precision::Int8 => ONE_OFF,
    }
}

/// Opens `path`, which also replays its self-test, samples from it, and returns the largest difference to `network`: as the
/// file is, and as `runtime` rewrites it, whichever is larger.
///
/// # Errors
/// A file that ONNX Runtime does not run, or to other images.
pub(super) fn parity(path: &Path, network: &Network, info: &ModelInfo) -> Result<f32> {
    let count = network.graph().samples_within(BYTES, COUNT);
    let first = info.self_test.index;
    // Of an image to begin with all values differ; the class is not the one that every sample has by itself.
    let mut image = vec![0f32; info.image_in.map_or(0, |image| image.len())];
    runtime::fill_latent(1, 0, &mut image);
    image.iter_mut().for_each(|value| *value = value.clamp(-1., 1.));
    let given = Given { class: info.classes.saturating_sub(1) as u32, image: &image };
    let mut request = Request::seed(info.self_test.seed).first(first);
    if info.classes > 0 {
        request = request.class(given.class);
    }
    if info.image_in.is_some() {
        request = request.image(given.image);
    }
    let expected = samples(network, info, first, count, &given)?;
    let mut drawn = vec![0f32; expected.len()];
    let mut largest = 0f32;
    for start in [Start::Steady, Start::Fast] {
        let options = Options { provider: Provider::Cpu, max_batch: count, start, ..Options::default() };
        Generator::open(path, &options)?.draw(&request, &mut drawn)?;
        let found = compare(&drawn, &expected, info.image, allowed(info.precision))
            .map_err(|what| Error::Export { path: path.to_owned(), what })?;
        largest = largest.max(found);
    }
    Ok(largest)
}

/// The largest difference of images [N, C, H, W], if it is allowed; else what it is. Of colours that have an alpha it counts as
/// much as can be seen of it.
fn compare(drawn: &[f32], expected: &[f32], image: ImageShape, allowed: f32) -> std::result::Result<f32, String> {
    // A NaN on either side counts as infinitely far.
    let far = |a: f32, b: f32| if (a - b).is_nan() { f32::INFINITY } else { (a - b).abs() };
    let pixels = image.height * image.width;
    let seen = |at: usize| match at % image.len() {
        within if has_alpha(image) && within < image.len() - pixels => {
            let alpha = expected[at - within + image.len() - pixels + within % pixels];
            (f64::midpoint(alpha.into(), 1.).max(LEAST_ALPHA)) as f32
        }
        _ => 1.,
    };
    let pairs = drawn.iter().zip(expected).enumerate();
    let largest = pairs.map(|(at, (&a, &b))| far(a, b) * seen(at)).fold(0., f32::max);
    if drawn.len() == expected.len() && largest <= allowed {
        return Ok(largest);
    }
    Err(format!("ONNX Runtime's samples differ from candle's by {largest}, allowed is {allowed}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_that_differ_by_more_than_is_allowed_are_refused() {
        let allowed = super::allowed;
        let single = allowed(Precision::F32);
        let line = |width: usize, channels: usize| ImageShape { channels, height: 1, width };
        let compare = |a: &[f32], b: &[f32], allowed: f32| compare(a, b, line(b.len(), 1), allowed);
        assert_eq!(compare(&[0.5, -1.], &[0.5, -0.999995], single).map(|far| far > 0.), Ok(true));
        for other in [&[0.5, -0.9999][..], &[0.5, f32::NAN], &[f32::INFINITY, -1.], &[0.5]] {
            assert!(compare(&[0.5, -1.], other, single).is_err_and(|what| what.contains("differ")), "{other:?}");
        }
        // Half precision is rounded, but no other image.
        assert!(compare(&[0.5], &[0.501], allowed(Precision::F16)).is_ok());
        assert!(compare(&[0.5], &[0.503], allowed(Precision::F16)).is_err());
        // Of two pixels with alpha, the first can hardly be seen: 0.0075 times 1 / 16.
        let pair = |colour: f32, at: usize| {
            let (expected, mut drawn) = ([0.5, 0.5, -1., 1.], [0.5, 0.5, -1., 1.]);
            drawn[at] = colour;
            super::compare(&drawn, &expected, line(2, 2), 1e-3)
        };
        assert!(pair(0.5075, 0).is_ok() && pair(0.5175, 0).is_err() && pair(0.5075, 1).is_err());
    }

    /// A file that ONNX Runtime runs to other images than the network's is not taken for it.
    #[test]
    fn a_file_of_another_network_is_refused() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gen.onnx");
        let image = runtime::ImageShape { channels: 1, height: 8, width: 8 };
        let network = |seed: u64| -> Result<Network> {
            let recipe = crate::net::dense::Generator { latent: 4, hidden: vec![8] };
            Ok(crate::net::dense::generator(&recipe, image, &mut crate::net::Init::new(seed))?)
        };
        let origin = super::super::Origin {
            recipe: String::new(),
            images_seen: 0,
            data: String::new(),
            data_sha256: String::new(),
            quality: String::new(),
            class_names: Vec::new(),
        };
        let weights = super::super::Weights::Inside;
        super::super::export(&network(1)?, Precision::F32, &origin, weights, std::slice::from_ref(&path))?;
        let info = super::super::describe(&network(1)?, Precision::F32, &origin)?;
        assert!(parity(&path, &network(1)?, &info)? < 1e-5);
        let error = parity(&path, &network(2)?, &info).expect_err("another network").to_string();
        assert!(error.contains("differ from candle's") && error.contains("allowed is 0.00001"), "{error}");
        Ok(())
    }
}
