//! A small data set for tests: images that a fixture of the crate `runtime` makes.

use super::Reference;
use crate::Result;
use crate::data::{Dataset, Labels, Splits};
use crate::metrics::Sampler;
use runtime::{Generator, Options, Provider};
use std::sync::OnceLock;

/// A generator of images of 3 x 20 x 12.
pub fn generator() -> Generator {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../runtime/tests/fixtures/dcgan-f32.onnx");
    let options = Options { provider: Provider::Cpu, max_batch: 64, ..Options::default() };
    Generator::open(path, &options).expect("opens")
}

/// 100 of its samples of seed 1 to train with and 60 of seed 2 to test with. Class 1 is the half with the brighter red.
pub fn splits() -> Splits {
    let mut generator = generator();
    let mut data = |seed: u64, count: usize| {
        let shape = generator.info().image;
        let mut pixels = vec![0u8; count * shape.len()];
        for (batch, pixels) in pixels.chunks_mut(64 * shape.len()).enumerate() {
            Sampler::sample(&mut generator, seed, 64 * batch as u64, &[], pixels).expect("samples");
        }
        let red = |image: &[u8]| image.iter().step_by(3).map(|&v| u32::from(v)).sum::<u32>();
        let reds: Vec<u32> = pixels.chunks_exact(shape.len()).map(red).collect();
        let mut sorted = reds.clone();
        sorted.sort_unstable();
        let values = reds.iter().map(|&red| u32::from(red >= sorted[count / 2])).collect();
        Dataset::new("fixture", shape, pixels).with_labels(Labels { values, classes: 2, names: None })
    };
    Splits { train: data(1, 100), test: Some(data(2, 60)) }
}

/// [`splits`] and their reference, which is made once.
pub fn reference() -> &'static (Splits, Reference) {
    static MADE: OnceLock<(Splits, Reference)> = OnceLock::new();
    MADE.get_or_init(|| {
        let data = splits();
        let reference = Reference::new(&data, None).expect("a reference");
        (data, reference)
    })
}

/// The test images of data that has some.
pub fn test(data: &Splits) -> &Dataset {
    data.test.as_ref().expect("test images")
}

/// All pixels [N, H, W, C].
pub fn pixels(data: &Dataset) -> Result<Vec<u8>> {
    let mut pixels = vec![0; data.len() * data.shape().len()];
    data.read(0, &mut pixels)?;
    Ok(pixels)
}
