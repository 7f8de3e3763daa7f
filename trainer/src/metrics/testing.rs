//! A small data set for tests: images that a fixture of the crate `runtime` makes.

use super::Reference;
use crate::data::{Dataset, Labels, Splits};
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
            generator.sample(seed, 64 * batch as u64, pixels).expect("samples");
        }
        let red = |image: &[u8]| image[..shape.len() / 3].iter().map(|&v| u32::from(v)).sum::<u32>();
        let reds: Vec<u32> = pixels.chunks_exact(shape.len()).map(red).collect();
        let mut sorted = reds.clone();
        sorted.sort_unstable();
        let values = reds.iter().map(|&red| u8::from(red >= sorted[count / 2])).collect();
        Dataset::new("fixture", shape, pixels).with_labels(Labels { values, classes: 2 })
    };
    Splits { train: data(1, 100), test: data(2, 60) }
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
