//! The small convolutional classifier in whose features images are compared.
//!
//! It is trained on the labels of the training images: a convolution to half the sides, more of them until the larger side
//! is at most 8, one more convolution, a dense layer of [`FEATURES`] features, and a dense layer of a logit for each class.
//! Batch normalisation (Ioffe & Szegedy, 2015) follows all but the last layer in training and is then folded into them, so
//! that what the classifier sees in an image depends on that image alone. Seeded: the same data and seed, the same weights
//! on the same machine.

use super::BYTES;
use crate::data::{self, Dataset, Labels, Order, batch_within};
use crate::error::{Error, Result};
use crate::files;
use crate::graph::operators::BatchNorm;
use crate::graph::{Network, Parameter, Value, Wanted};
use crate::net::{Init, Layers, Window};
use crate::ops::{Activation, cross_entropy};
use crate::optim::{Adam, Learner, Local, Move, Optimizer};
use crate::report::{Bar, duration};
use candle_core::{DType, Tensor};
use runtime::ImageShape;
use std::time::Instant;

/// To be raised with every change of the training that is not in [`TRAINING`] or in the shapes of the weights: what was
/// kept of an earlier version is then not used any more.
const VERSION: u32 = 1;

/// Channels of the first convolution, and of the others.
const CHANNELS: (usize, usize) = (16, 32);
/// Width of the last but one layer, whose outputs are the features.
const FEATURES: usize = 96;
/// The larger side of the last maps is at most this.
const SMALLEST: usize = 8;
/// Batch normalisation's.
const EPS: f64 = 1e-5;

/// How the classifier is trained.
#[derive(Debug)]
struct Training {
    /// Images a step; all of them where there are fewer.
    batch: usize,
    epochs: usize,
    /// However few images there are.
    least_steps: usize,
    /// At the beginning; it falls to 0 along a half cosine (Loshchilov & Hutter, 2017).
    learning_rate: f64,
    beta1: f64,
    beta2: f64,
    /// Training images whose statistics batch normalisation is folded with.
    statistics: usize,
}

const TRAINING: Training = Training {
    batch: 128,
    epochs: 3,
    least_steps: 200,
    learning_rate: 3e-3,
    beta1: 0.9,
    beta2: 0.99,
    statistics: 2048,
};

/// A trained classifier.
#[derive(Clone, Debug)]
pub struct Classifier {
    shape: ImageShape,
    /// Images to logits and features.
    network: Network,
    classes: usize,
}

/// What a classifier sees in images.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// The outputs of its last but one layer, [N, width].
    pub features: Vec<f32>,
    /// The most likely class, `[N]`.
    pub classes: Vec<u32>,
}

impl Classifier {
    /// Trains a classifier on all of `data`, which `labels` belong to.
    ///
    /// # Errors
    /// Training that diverges.
    pub fn train(data: &Dataset, labels: &Labels, seed: u64) -> Result<Self> {
        let (shape, t) = (data.shape(), &TRAINING);
        let network = network(shape, labels.classes, true, &mut Init::new(seed))?;
        let adam =
            |lr: f64| Optimizer::Adam(Adam { lr: lr.into(), beta1: t.beta1.into(), beta2: t.beta2.into(), eps: 1e-8 });
        let mut learner = Learner::new(&network, adam(t.learning_rate).moments(), false, DType::F32)?;
        let batch = t.batch.min(data.len()).min(super::batch(shape));
        let steps = (t.epochs * data.len() / batch).max(t.least_steps);
        let mut order = Order::new(data.len(), seed, "classifier");
        let mut images = |first: usize, count: usize| -> Result<(Tensor, Vec<u32>)> {
            let indices = order.take(first as u64, count);
            let x = data::images_at(data, &indices)?;
            Ok((x, indices.iter().filter_map(|&i| labels.values.get(i).copied()).collect()))
        };

        let start = Instant::now();
        let mut bar = Bar::new(0, steps as u64);
        for step in 0..steps {
            let (x, labels) = images(step * batch, batch)?;
            let trace = learner.network().trace(&[&x])?;
            let (loss, gradient) = cross_entropy(trace.output(), &labels, None)?;
            if !loss.is_finite() {
                bar.end();
                let what = format!("training the classifier diverged at step {step}: its loss is {loss}");
                return Err(Error::Evaluation(what));
            }
            let gradients = trace.backward(&gradient, Wanted::PARAMETERS)?;
            let passed = step as f64 / steps as f64;
            let lr = t.learning_rate * (1. + (std::f64::consts::PI * passed).cos()) / 2.;
            learner.accumulate(&gradients, 1.)?;
            learner.step(Move { constants: &adam(lr).at(0), average: 0., clip: None, bound: None, reduce: &Local })?;
            let done = step + 1;
            bar.update(done as u64, || {
                let left = start.elapsed().as_secs_f64() / done as f64 * (steps - done) as f64;
                format!("classifier  {done}/{steps} steps  loss {loss:.3}  {} left", duration(left))
            });
        }
        bar.end();

        let statistics = batch_within(shape, BYTES, t.statistics).min(data.len());
        let (x, _) = images(steps * batch, statistics)?;
        let statistics = learner.network().batch_statistics(&[&x])?;
        Ok(Self { shape, classes: labels.classes, network: learner.network().frozen(&statistics)? })
    }

    /// The same network with random weights, and batch normalisation folded with the statistics of `data`: features that
    /// know nothing but images, and need no labels (Naeem et al., "Reliable fidelity and diversity metrics for generative
    /// models", 2020, section 5). What it says of classes means nothing.
    ///
    /// # Errors
    /// What the system says of the file that the images are in.
    pub fn untrained(data: &Dataset, seed: u64) -> Result<Self> {
        let shape = data.shape();
        let network = network(shape, 1, true, &mut Init::new(seed))?;
        let count = batch_within(shape, BYTES, TRAINING.statistics).min(data.len());
        let x = data::images(data, &mut Order::new(data.len(), seed, "classifier"), 0, count)?;
        let statistics = network.batch_statistics(&[&x])?;
        Ok(Self { shape, classes: 1, network: network.frozen(&statistics)? })
    }

    /// With the weights that `tensor` gives.
    ///
    /// # Errors
    /// Those of `tensor`; weights of other shapes.
    pub(super) fn restore(
        shape: ImageShape,
        classes: usize,
        tensor: impl Fn(&Parameter) -> candle_core::Result<Tensor>,
    ) -> candle_core::Result<Self> {
        let blank = network(shape, classes, false, &mut Init::new(0))?;
        Ok(Self { shape, classes, network: blank.map(|parameter, _| tensor(parameter))? })
    }

    /// What is seen in `pixels` [N, H, W, C], 0 to 255; a last, incomplete image is left out.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn look(&self, pixels: &[u8]) -> Result<Seen> {
        let x = data::tensor(pixels, self.shape)?;
        let [logits, features] = &self.network.outputs(&[&x], |_, _| ())?[..] else {
            return Err(Error::Evaluation("the classifier gives no features".into()));
        };
        let logits = logits.flatten_all()?.to_vec1::<f32>()?;
        let largest =
            |logits: &[f32]| (0..logits.len()).fold(0, |best, i| if logits[i] > logits[best] { i } else { best });
        let classes = logits.chunks_exact(self.classes).map(|logits| largest(logits) as u32).collect();
        Ok(Seen { features: features.flatten_all()?.to_vec1()?, classes })
    }

    /// How many features there are.
    pub fn width(&self) -> usize {
        FEATURES
    }

    /// How many classes there are.
    pub fn classes(&self) -> usize {
        self.classes
    }

    /// Every weight under its name.
    pub fn parameters(&self) -> Vec<(String, &Tensor)> {
        self.network.parameters().map(|(parameter, tensor)| (parameter.name.clone(), tensor)).collect()
    }

    /// SHA-256 of the weights with their names and shapes, in lower-case hexadecimal digits.
    ///
    /// # Errors
    /// None but those of the device.
    pub fn sha256(&self) -> Result<String> {
        let mut all = Vec::new();
        for (name, t) in self.parameters() {
            all.extend(format!("{name} {:?}\n", t.dims()).into_bytes());
            all.extend(t.flatten_all()?.to_vec1::<f32>()?.into_iter().flat_map(f32::to_le_bytes));
        }
        Ok(files::sha256(&all))
    }

    /// All that a classifier depends on beside data and seed, as text.
    ///
    /// # Errors
    /// None but those of the device.
    pub(super) fn method(shape: ImageShape, classes: usize) -> Result<String> {
        let network = network(shape, classes, true, &mut Init::new(0))?;
        let shapes: Vec<_> =
            network.parameters().map(|(parameter, t)| (parameter.name.clone(), t.dims().to_vec())).collect();
        Ok(format!("classifier {VERSION} of {shape:?}\n{TRAINING:?}\n{shapes:?}"))
    }
}

/// [H, W, C] -> features, and logits of the classes. `normalised`: with batch normalisation, to be trained; else as it is
/// when that is folded.
fn network(shape: ImageShape, classes: usize, normalised: bool, init: &mut Init) -> candle_core::Result<Network> {
    let mut layers = Layers::new(init);
    let mut x = layers.graph.input("image", &[shape.height, shape.width, shape.channels]);
    let (before, after) =
        if normalised { (Activation::None, Activation::RELU) } else { (Activation::RELU, Activation::None) };
    // For a rectifier after it: He et al., 2015, equation 10.
    let deviation = |inputs: usize| (2. / inputs as f32).sqrt();
    let norm = |name: &str, x: Value, layers: &mut Layers<'_>| match normalised {
        true => layers.batch_norm(&format!("{name}.norm"), x, 0., BatchNorm { eps: EPS, activation: after }),
        false => Ok(x),
    };
    let half = |side: usize| side.div_ceil(2);
    let (mut h, mut w) = (half(shape.height), half(shape.width));
    let (first, others) = CHANNELS;
    let mut windows = vec![(first, Window::square(5, 2, 2))];
    while h.max(w) > SMALLEST {
        windows.push((others, Window::square(3, 2, 1)));
        (h, w) = (half(h), half(w));
    }
    windows.push((others, Window::square(3, 1, 1)));
    for (i, (outputs, window)) in windows.iter().enumerate() {
        let name = format!("conv{}", i + 1);
        let inputs = window.kernel.iter().product::<usize>() * layers.channels(x);
        x = layers.convolution(&name, x, (*outputs, window), deviation(inputs), !normalised, before)?;
        x = norm(&name, x, &mut layers)?;
    }
    let inputs = layers.graph.shape(x).iter().product();
    x = layers.reshape(x, &[inputs])?;
    x = layers.linear("features", x, FEATURES, deviation(inputs), !normalised, before)?;
    let features = norm("features", x, &mut layers)?;
    let logits = layers.linear("logits", features, classes, (1. / FEATURES as f32).sqrt(), true, Activation::None)?;
    // The first output is the one that is learned from.
    layers.graph.finish(&[logits, features])
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn images_of_any_size_have_features_and_logits() -> Result<()> {
        for (channels, height, width) in [(1, 28, 28), (3, 33, 17), (1, 1, 1), (4, 5, 64)] {
            let shape = ImageShape { channels, height, width };
            for normalised in [false, true] {
                let network = network(shape, 7, normalised, &mut Init::new(1))?;
                assert_eq!(network.output_shape(), [7], "{shape:?}");
                let x = data::tensor(&[vec![9; shape.len()], vec![200; shape.len()]].concat(), shape)?;
                let trace = network.trace(&[&x])?;
                let (_, gradient) = cross_entropy(trace.output(), &[0, 6], None)?;
                let gradients = trace.backward(&gradient, Wanted::PARAMETERS)?;
                assert!(gradients.parameters.iter().all(Option::is_some));
            }
        }
        Ok(())
    }

    /// Noise with a bright square in one of three places: what is learned from 60 images holds for others.
    #[test]
    fn it_learns_what_the_labels_say() -> Result<()> {
        let shape = ImageShape { channels: 1, height: 12, width: 9 };
        let data = |seed: u64| {
            let mut noise = vec![0f32; 60 * shape.len()];
            runtime::fill_latent(seed, 0, &mut noise);
            let mut pixels: Vec<u8> = noise.iter().map(|v| (60. + 30. * v).clamp(0., 255.) as u8).collect();
            let labels: Vec<u32> = (0..60).map(|i| i % 3).collect();
            for (image, &label) in pixels.chunks_exact_mut(shape.len()).zip(&labels) {
                for (y, x) in (4..7).flat_map(|y| (0..3).map(move |x| (y, x + 3 * label as usize))) {
                    image[y * shape.width + x] = 200;
                }
            }
            (Dataset::new("squares", shape, pixels), Labels { values: labels, classes: 3, names: None })
        };
        let ((train, labels), (test, expected)) = (data(1), data(2));
        let seen = Classifier::train(&train, &labels, 0)?.look(&testing::pixels(&test)?)?;
        let right = seen.classes.iter().zip(&expected.values).filter(|(a, b)| a == b).count();
        assert!(right >= 57, "{right} of 60 right");
        assert_eq!(seen.features.len(), 60 * FEATURES);
        Ok(())
    }

    #[test]
    fn the_same_seed_gives_the_same_classifier_with_any_number_of_threads() -> Result<()> {
        let data = testing::splits();
        let labels = data.train.labels().expect("labels");
        let hash = |threads: usize, seed: u64| -> Result<String> {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| Classifier::train(&data.train, labels, seed)?.sha256())
        };
        let first = hash(1, 3)?;
        assert_eq!(first.len(), 64);
        assert_eq!(hash(3, 3)?, first);
        assert_ne!(hash(1, 4)?, first);
        Ok(())
    }

    #[test]
    fn a_restored_classifier_sees_the_same() -> Result<()> {
        let (data, reference) = testing::reference();
        let trained = reference.classifier();
        let stored = trained.parameters();
        let restored = Classifier::restore(data.train.shape(), 2, |parameter| {
            let found = stored.iter().find(|(stored, _)| *stored == parameter.name);
            found.map(|(_, t)| (*t).clone()).ok_or_else(|| candle_core::Error::Msg(format!("no {}", parameter.name)))
        })?;
        assert_eq!(restored.sha256()?, trained.sha256()?);
        // One image alone is seen as it is among others.
        let (all, size) = (testing::pixels(testing::test(data))?, data.train.shape().len());
        let (seen, alone) = (trained.look(&all)?, restored.look(&all[size..2 * size])?);
        assert_eq!(seen.classes[1], alone.classes[0]);
        for (a, b) in seen.features[FEATURES..2 * FEATURES].iter().zip(&alone.features) {
            assert!((a - b).abs() < 1e-4, "{a} among others, {b} alone");
        }
        Ok(())
    }
}
