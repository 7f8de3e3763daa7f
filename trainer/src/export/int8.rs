//! Int8: a generator whose largest layers are computed in integers.
//!
//! What its bytes stand for follows from the values that samples have on their way ([`CALIBRATION`] of them): the range by
//! which the mean square of what rounding and cutting off change is least. How near its images come to those in f32 is
//! measured on others ([`COMPARED`]), and one that does not come near enough is no file ([`LEAST`]).

use crate::data::{classes_like, latents};
use crate::graph::operators::Grid;
use crate::graph::{Content, Network, Value};
use candle_core::{Device, Result, Tensor, bail};
use runtime::INPUT_LATENT;
use std::collections::HashMap;

/// Samples whose values are looked at.
const CALIBRATION: usize = 1000;
/// Samples that are compared.
const COMPARED: usize = 1000;
/// The least peak signal-to-noise ratio of their images to those in f32, in decibels.
const LEAST: f64 = 30.;
/// Samples that are computed at a time, and bytes that they take at most, unless one takes more.
const TOGETHER: (usize, u64) = (100, 256 << 20);

/// A generator in integers.
pub(super) struct Quantised {
    pub network: Network,
    /// The ratio of its images to those in f32, in decibels.
    pub psnr: f64,
}

impl Quantised {
    /// What its file says of that.
    pub(super) fn parity(&self) -> String {
        format!("psnr {:.1} dB to f32 over {COMPARED} images, {LEAST} at least", self.psnr)
    }
}

/// The generator in integers.
///
/// # Errors
/// One that has no layer for that, or begins with images; images that are too far from those in f32.
pub(super) fn quantised(generator: &Network) -> Result<Quantised> {
    let generator = generator.evaluated()?;
    let grids = grids(&generator)?;
    let network = generator.quantised(&grids)?;
    let psnr = psnr(&generator, &network)?;
    match psnr >= LEAST {
        true => Ok(Quantised { network, psnr }),
        false => bail!(
            "in int8 its images have a peak signal-to-noise ratio of {psnr:.1} dB to those in f32, {LEAST} is the least that \
             is allowed: {INSTEAD}"
        ),
    }
}

/// What to do about a generator that cannot be of int8.
const INSTEAD: &str = "export it with --precision f16";

/// What the bytes of each value that is to be bytes stand for.
fn grids(generator: &Network) -> Result<HashMap<Value, Grid>> {
    let values = generator.to_quantise();
    if values.is_empty() {
        bail!(
            "it has no layer that int8 makes faster, a transposed convolution before the one that makes the image: {INSTEAD}"
        )
    }
    let showing = generator.showing(&values)?;
    let each = |work: &mut dyn FnMut(usize, &[f32])| {
        for_inputs(&showing, "calibration", CALIBRATION, |inputs| {
            for (i, shown) in showing.outputs(inputs, |_, _| ())?.iter().skip(1).enumerate() {
                work(i, &shown.flatten_all()?.to_vec1::<f32>()?);
            }
            Ok(())
        })
    };
    let mut ranges = vec![(0f32, 0f32); values.len()];
    each(&mut |i, shown| {
        let (low, high) = ranges[i];
        ranges[i] = shown.iter().fold((low, high), |(low, high), &x| (low.min(x), high.max(x)));
    })?;
    let mut spreads: Vec<Spread> = ranges.into_iter().map(|(low, high)| Spread::new(low, high)).collect();
    each(&mut |i, shown| spreads[i].count(shown))?;
    Ok(values.into_iter().zip(spreads.iter().map(Spread::best)).collect())
}

/// The peak signal-to-noise ratio of the images of one generator to those of another, in decibels.
fn psnr(one: &Network, other: &Network) -> Result<f64> {
    let (mut squares, mut count) = (0f64, 0usize);
    for_inputs(one, "parity", COMPARED, |inputs| {
        let difference = (one.forward(inputs)? - other.forward(inputs)?)?.flatten_all()?.to_vec1::<f32>()?;
        squares += difference.iter().map(|&x| f64::from(x).powi(2)).sum::<f64>();
        count += difference.len();
        Ok(())
    })?;
    // Images are from -1 to 1.
    Ok(10. * (4. * count as f64 / squares).log10())
}

/// Hands `work` the inputs of so many samples, some at a time; each purpose has latents of its own, and all classes alike.
fn for_inputs(
    generator: &Network,
    purpose: &str,
    count: usize,
    mut work: impl FnMut(&[&Tensor]) -> Result<()>,
) -> Result<()> {
    let graph = generator.graph();
    let together = graph.samples_within(TOGETHER.1, TOGETHER.0);
    for first in (0..count).step_by(together) {
        let n = together.min(count - first);
        let mut inputs = Vec::new();
        for (i, port) in graph.inputs().iter().enumerate() {
            inputs.push(match (port.content, port.name.as_str(), graph.shape(Value::Input(i))) {
                (Content::Class(classes), ..) => {
                    Tensor::new(classes_like(&vec![1; classes], first as u64, n), &Device::Cpu)?
                }
                (Content::Numbers, INPUT_LATENT, &[width]) => latents(0, purpose, first as u64, n, width)?,
                _ => bail!("it begins with images, and int8 needs some to know their values: {INSTEAD}"),
            });
        }
        work(&inputs.iter().collect::<Vec<_>>())?;
    }
    Ok(())
}

/// How often a value has which numbers.
struct Spread {
    low: f32,
    high: f32,
    /// In parts of that range, all of one length.
    counts: Vec<u64>,
}

impl Spread {
    const PARTS: usize = 4096;

    /// Of nothing yet; 0 lies in the range.
    fn new(low: f32, high: f32) -> Self {
        Self { low, high, counts: vec![0; Self::PARTS] }
    }

    fn count(&mut self, numbers: &[f32]) {
        let parts = Self::PARTS as f32 / (self.high - self.low).max(f32::MIN_POSITIVE);
        for x in numbers {
            self.counts[(((x - self.low) * parts) as usize).min(Self::PARTS - 1)] += 1;
        }
    }

    /// Mean square of what a grid changes, times the number of numbers.
    fn error(&self, grid: Grid) -> f64 {
        let part = (self.high - self.low) / Self::PARTS as f32;
        let of = |(i, &count): (usize, &u64)| {
            let x = self.low + (i as f32 + 0.5) * part;
            count as f64 * f64::from(grid.value(grid.nearest(x / grid.scale)) - x).powi(2)
        };
        self.counts.iter().enumerate().map(of).sum()
    }

    /// The grid that changes least: each end in turn is drawn in, since few numbers lie far out.
    fn best(&self) -> Grid {
        let shares = || (0..45).map(|i| 1. - 0.02 * i as f32);
        let better = |grids: &mut dyn Iterator<Item = (f32, f32)>| {
            let errors = grids.map(|(low, high)| ((low, high), self.error(Grid::over(low, high))));
            errors.min_by(|a, b| a.1.total_cmp(&b.1)).map_or((self.low, self.high), |(range, _)| range)
        };
        let (low, high) = better(&mut shares().map(|share| (self.low, share * self.high)));
        let (low, high) = better(&mut shares().map(|share| (share * low, high)));
        let (low, high) = better(&mut shares().map(|share| (low, share * high)));
        Grid::over(low, high)
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Origin, Weights, export};
    use super::*;
    use crate::net::{Init, Subject, dcgan};
    use runtime::{Generator, ImageShape, Options, Precision, Request};

    /// As a trained one, whose scales and shifts differ from channel to channel.
    fn generator(recipe: &dcgan::Generator, subject: Subject) -> Result<Network> {
        let mut noise = Init::new(7);
        let network = dcgan::generator(recipe, subject, &mut Init::new(3))?;
        let network = network.map(|parameter, t| match t.rank() {
            1 => t + noise.normal(t.dims(), 0., 0.3)?,
            // Else images would be nearly grey.
            _ if parameter.name == "up3.weight" && recipe.norm != dcgan::Norm::None => t * 10.,
            _ => Ok(t.clone()),
        })?;
        let z = noise.normal(&[64, recipe.latent], 0., 1.)?;
        let class = Tensor::new(classes_like(&vec![1; subject.classes], 0, 64), &Device::Cpu)?;
        let inputs = if subject.classes > 0 { vec![&z, &class] } else { vec![&z] };
        let statistics = network.batch_statistics(&inputs)?;
        network.evaluated()?.frozen(&statistics)
    }

    fn subject(channels: usize, classes: usize) -> Subject {
        // 7 x 6 -> 13 x 12 -> 25 x 24 -> 49 x 48: rows are cut off each time.
        Subject { image: ImageShape { channels, height: 49, width: 48 }, classes, multi_scale: false }
    }

    fn origin() -> Origin {
        Origin { recipe: "name = \"x\"".into(), ..Origin::default() }
    }

    /// Every kind with several layers to quantise; the file says how near it comes, and draws the same in any batch and with any
    /// number of threads.
    #[test]
    fn generators_of_all_kinds_come_near_those_in_f32() -> crate::Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gen.onnx");
        let plain = dcgan::Generator::new(6, 8);
        for (name, recipe, subject) in [
            ("plain", plain, subject(3, 0)),
            ("alpha", plain, subject(4, 0)),
            ("classes", plain, subject(1, 3)),
            ("spectral norms", dcgan::Generator { spectral_norm: true, ..plain }, subject(3, 0)),
            ("virtual norms", dcgan::Generator { norm: dcgan::Norm::Virtual, ..plain }, subject(3, 0)),
            ("no norms", dcgan::Generator { norm: dcgan::Norm::None, ..plain }, subject(3, 0)),
            ("no norms, classes", dcgan::Generator { norm: dcgan::Norm::None, ..plain }, subject(2, 3)),
        ] {
            let network = generator(&recipe, subject)?;
            assert!(network.evaluated()?.to_quantise().len() >= 3, "{name}");
            let paths = std::slice::from_ref(&path);
            let written = export(&network, Precision::Int8, &origin(), Weights::Inside, paths)?;
            let (parity, psnr) = (written[0].parity.expect("compared"), written[0].psnr.expect("measured"));
            println!("{name}: {parity:.1e}, {psnr:.1} dB");
            assert!(psnr > LEAST && parity < 0.05, "{name}: {parity}, {psnr}");
            let mut drawn: Vec<Vec<f32>> = Vec::new();
            for (threads, batches) in [(1, [20, 0]), (1, [7, 13]), (3, [19, 1])] {
                let options = Options { threads, ..Options::default() };
                let mut file = Generator::open(&path, &options)?;
                assert_eq!(file.info().precision, Precision::Int8);
                assert!(file.info().parity.starts_with(&format!("psnr {psnr:.1} dB")), "{}", file.info().parity);
                let mut images = vec![0f32; 20 * file.info().image.len()];
                let (first, rest) = images.split_at_mut(batches[0] * file.info().image.len());
                file.draw(&Request::seed(1), first)?;
                if batches[1] > 0 {
                    file.draw(&Request::seed(1).first(batches[0] as u64), rest)?;
                }
                drawn.push(images);
            }
            assert!(drawn.iter().all(|images| *images == drawn[0]), "{name}");
        }
        Ok(())
    }

    /// Of a generator whose last layer makes black and white of the smallest differences.
    #[test]
    fn images_that_are_too_far_are_no_file() -> crate::Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("gen.onnx");
        let network = generator(&dcgan::Generator::new(6, 8), subject(3, 0))?;
        let coarse = network.map(|parameter, t| match parameter.name.as_str() {
            "up3.weight" => t * 3e4,
            _ => Ok(t.clone()),
        })?;
        let error = export(&coarse, Precision::Int8, &origin(), Weights::Inside, std::slice::from_ref(&path));
        let error = error.expect_err("too far").to_string();
        assert!(error.contains("30 is the least that is allowed: export it with --precision f16"), "{error}");
        assert!(!path.exists());
        Ok(())
    }

    #[test]
    fn a_range_leaves_out_what_is_rare_and_keeps_its_zero() {
        let spread = |numbers: &[f32]| {
            let of = |least: fn(f32, f32) -> f32| numbers.iter().fold(0f32, |a, &b| least(a, b));
            let mut spread = Spread::new(of(f32::min), of(f32::max));
            spread.count(numbers);
            spread.best()
        };
        // Nothing is rare: all of the range.
        let even: Vec<f32> = (0..=1_000_000).map(|i| i as f32 / 1e6).collect();
        assert_eq!(spread(&even), Grid::over(0., 1.));
        // One in a million far out is cut off, on either side; the rest has finer steps for that.
        let far: Vec<f32> = even.iter().map(|&x| x - 0.5).chain([-0.9, 0.8]).collect();
        let grid = spread(&far);
        let (low, high) = (grid.value(0.), grid.value(255.));
        assert!((-0.6..=-0.45).contains(&low) && (0.45..=0.6).contains(&high), "{grid:?}");
        assert_eq!(grid.value(f32::from(grid.zero)), 0.);
        assert_eq!(spread(&[0., 0.]).zero, 0);
    }
}
