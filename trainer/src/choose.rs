//! What follows from the data, the machine and the time there is, where a recipe leaves it open.

use crate::data::{Batches, Dataset};
use crate::error::{Error, Result};
use crate::recipe::{Draft, Images, Recipe};
use crate::report::{duration, say};
use crate::state::State;
use candle_core::Device;
use runtime::ImageShape;
use std::sync::Arc;
use std::time::Instant;

/// Minutes of a run, where nobody says how long it is to be.
const MINUTES: f64 = 30.;
/// The part of them in which networks learn: grids of samples and checkpoints take the rest.
const LEARNING: f64 = 0.93;

/// Widths that are tried, the largest first, on a GPU and on a CPU: that is taken with which there is time for so many
/// images, or else the last.
const WIDTHS: [[i64; 3]; 2] = [[128, 64, 32], [64, 32, 16]];
const ENOUGH: f64 = 200_000.;

/// Images a step; fewer where they are larger than this many pixels, and where there are not so many.
const BATCH: usize = 64;
const PIXELS: usize = 64 * 64;
const FEWEST: usize = 8;

/// Ticks of a run, and checkpoints.
const TICKS: f64 = 40.;
const CHECKPOINTS: f64 = 8.;

/// Seconds that a speed is measured for.
const MEASURED: f64 = 1.5;

/// The whole recipe for `data`, and what was chosen, a line each with the flag that changes it. A run that is to take so many
/// `minutes`, or `steps`, has the length that the speed allows, or that they make, whatever the draft says of it.
///
/// # Errors
/// What recipes are refused for; a run that cannot be measured.
pub fn complete(
    mut draft: Draft,
    data: &Arc<Dataset>,
    device: &Device,
    (minutes, steps): (Option<f64>, Option<u64>),
) -> Result<(Recipe, Vec<String>)> {
    let mut said = Vec::new();
    if draft.lacks("training.batch") {
        let batch = batch(data.shape(), data.len());
        draft.put("training.batch", batch as i64)?;
        said.push(format!("batch: {batch} images a step (--batch)"));
    }
    put_steps(&mut draft, steps)?;
    let open: Vec<&str> =
        ["generator.width", "discriminator.width"].into_iter().filter(|key| has_open(&draft, key)).collect();
    let minutes = minutes.or_else(|| draft.lacks("training.kimg").then_some(MINUTES));
    let widths = if device.is_cpu() { WIDTHS[1] } else { WIDTHS[0] };
    let mut speed = None;
    match (&open[..], minutes) {
        ([], _) => (),
        (_, None) => put_all(&mut draft, &open, widths[1])?,
        (_, Some(minutes)) => {
            say!("measuring how fast networks of several widths learn here");
            for width in widths {
                put_all(&mut draft, &open, width)?;
                let found = match images_per_second(&draft, data, device) {
                    // Too wide for the memory there is.
                    Err(Error::Recipe { .. }) if width != widths[2] => continue,
                    other => other?,
                };
                speed = Some(found);
                if found * minutes * 60. * LEARNING >= ENOUGH {
                    break;
                }
            }
        }
    }
    if let Some(first) = open.first() {
        let width = draft.get(first).and_then(toml::Value::as_integer).unwrap_or_default();
        let flags: Vec<String> = open.iter().map(|key| format!("--set {key}={}", 2 * width)).collect();
        said.push(format!("width: {width} ({})", flags.join(" ")));
    }
    if let Some(minutes) = minutes {
        let speed = match speed {
            Some(speed) => speed,
            None => images_per_second(&draft, data, device)?,
        };
        let batch = draft.get("training.batch").and_then(number).unwrap_or(1.);
        let kimg = (speed * minutes * 60. * LEARNING / 1000.).round().max(1.).max(batch / 1000.);
        draft.put("training.kimg", kimg)?;
        let time = duration(minutes * 60.);
        said.push(format!("length: {kimg} kimg, about {time} at {speed:.0} images/s (--minutes or --kimg)"));
    }
    let kimg = draft.get("training.kimg").and_then(number).unwrap_or(1.);
    for (key, parts) in [("training.tick_kimg", TICKS), ("training.checkpoint_kimg", CHECKPOINTS)] {
        if draft.lacks(key) {
            draft.put(key, round(kimg / parts))?;
        }
    }
    let recipe = draft.finish()?;
    if let Some(labels) = data.labels() {
        said.push(match recipe.conditional {
            true => format!("conditional: of {} classes (--set conditional=false)", labels.classes),
            false if recipe.looks_at_classes() => {
                format!("unconditional: the labels of {} classes are used for their balance alone", labels.classes)
            }
            false => format!(
                "unconditional: the labels of {} classes are not used (--set conditional=true, or --recipe \
                 pictures-conditional)",
                labels.classes
            ),
        });
    }
    Ok((recipe, said))
}

/// The length of so many steps, where the images of one are known.
///
/// # Errors
/// As [`Draft::put`].
pub fn put_steps(draft: &mut Draft, steps: Option<u64>) -> Result<()> {
    let of = |key: &str| draft.get(key).and_then(number);
    let (Some(steps), Some(batch)) = (steps, of("training.batch")) else { return Ok(()) };
    let images = steps as f64 * batch * of("training.critic_steps").unwrap_or(1.);
    draft.put("training.kimg", images.clamp(1., Images::MOST as f64) / 1000.)
}

/// Whether a network has a width, of which nothing is said.
fn has_open(draft: &Draft, width: &str) -> bool {
    let architecture = width.replace("width", "architecture");
    draft.lacks(width) && draft.get(&architecture).and_then(toml::Value::as_str) == Some("dcgan")
}

fn number(value: &toml::Value) -> Option<f64> {
    value.as_float().or_else(|| value.as_integer().map(|value| value as f64))
}

fn put_all(draft: &mut Draft, keys: &[&str], width: i64) -> Result<()> {
    keys.iter().try_for_each(|key| draft.put(key, width))
}

/// Images a step for so many images of this shape.
fn batch(shape: ImageShape, count: usize) -> usize {
    let larger = (shape.height * shape.width).div_ceil(PIXELS).next_power_of_two();
    (BATCH / larger.min(BATCH)).min(count.next_power_of_two()).max(FEWEST)
}

/// Thousands of images, to one digit, of whole images.
fn round(kimg: f64) -> f64 {
    let unit = 10f64.powf(kimg.max(1e-3).log10().floor());
    let kimg = (kimg / unit).round() * unit;
    (kimg * 1000.).round().max(1.) / 1000.
}

/// How many images a second a draft, of which length and rhythm do not matter, learns from.
fn images_per_second(draft: &Draft, data: &Arc<Dataset>, device: &Device) -> Result<f64> {
    let mut draft = draft.clone();
    for key in ["training.kimg", "training.tick_kimg", "training.checkpoint_kimg"] {
        draft.put(key, Images::MOST as f64 / 1000.)?;
    }
    let recipe = draft.finish()?;
    // Penalties are not taken in every step.
    let period = recipe.objective.penalties.iter().map(|penalty| penalty.every).max().unwrap_or(1).min(16);
    let mut batches = Batches::new(data.clone(), device, &recipe, 0)?;
    let mut state = State::new(recipe, data, device)?;
    let mut step = |state: &mut State| -> Result<()> {
        let found = state.step(&mut || batches.next_batch())?;
        // Waits for the device.
        state.read(&[found]).map(|_| ())
    };
    step(&mut state)?;
    let (start, before) = (Instant::now(), state.clock.images);
    while start.elapsed().as_secs_f64() < MEASURED {
        (0..period).try_for_each(|_| step(&mut state))?;
    }
    Ok((state.clock.images - before) as f64 / start.elapsed().as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::mnist;

    #[test]
    fn batches_follow_size_and_number() {
        let of = |height: usize, width: usize, count: usize| batch(ImageShape { channels: 3, height, width }, count);
        assert_eq!([of(28, 28, 1000), of(64, 64, 1000), of(64, 96, 1000)], [64, 64, 32]);
        assert_eq!([of(128, 128, 1000), of(256, 256, 1000), of(4096, 4096, 1000)], [16, 8, 8]);
        assert_eq!([of(64, 64, 1), of(64, 64, 17), of(64, 64, 63)], [8, 32, 64]);
    }

    #[test]
    fn lengths_are_round_and_of_whole_images() {
        assert_eq!([round(10.4), round(0.26), round(347.), round(0.)], [10., 0.3, 300., 0.001]);
    }

    /// What is said stays, what is not is chosen, and what was chosen is said.
    #[test]
    fn only_what_is_open_is_chosen() -> Result<()> {
        let data = mnist()?;
        let draft = |overrides: &[(&str, toml::Value)]| {
            let all = [("data.source", "mnist".into()), ("generator.latent", 4.into())];
            let all = all.iter().chain(overrides).map(|(key, value)| ((*key).to_owned(), value.clone()));
            Draft::load("pictures", &all.collect::<Vec<_>>())
        };
        let said = |lines: &[String], words: &str| lines.iter().any(|line| line.contains(words));
        let (recipe, lines) = complete(draft(&[("training.kimg", 80.0.into())])?, &data, &Device::Cpu, (None, None))?;
        assert_eq!((recipe.training.batch, recipe.training.kimg), (64, Images(80_000)));
        assert_eq!((recipe.training.tick_kimg, recipe.training.checkpoint_kimg), (Images(2000), Images(10_000)));
        assert!(said(&lines, "width: 32 (--set generator.width=64 --set discriminator.width=64)"), "{lines:?}");
        assert!(said(&lines, "(--batch)") && said(&lines, "labels of 10 classes are not used") && lines.len() == 3);

        let (recipe, lines) = complete(
            draft(&[
                ("training.batch", 4.into()),
                ("generator.width", 2.into()),
                ("discriminator.width", 3.into()),
                ("conditional", true.into()),
            ])?,
            &data,
            &Device::Cpu,
            (Some(1e-3), None),
        )?;
        assert!(said(&lines, "--minutes or --kimg") && said(&lines, "conditional: of 10") && lines.len() == 2);
        assert!(recipe.training.kimg == Images(1000) && recipe.training.batch == 4 && recipe.conditional);

        // Steps are as many images, and the rhythm is theirs.
        let (steps, _) = complete(draft(&[])?, &data, &Device::Cpu, (None, Some(1250)))?;
        let (kimg, _) = complete(draft(&[("training.kimg", 80.0.into())])?, &data, &Device::Cpu, (None, None))?;
        assert_eq!(steps, kimg);

        // As many as the speed allows in the time that there is for learning.
        let small = [("generator.width", 2.into()), ("discriminator.width", 2.into())];
        let (recipe, lines) = complete(draft(&small)?, &data, &Device::Cpu, (Some(10.), None))?;
        let length = lines.iter().find_map(|line| line.strip_prefix("length: ")).expect("a length");
        let speed = length.split(" at ").nth(1).and_then(|rest| rest.split(' ').next()?.parse::<f64>().ok());
        let expected = speed.expect("a speed") * 600. * LEARNING / 1000.;
        let kimg = recipe.training.kimg.kimg();
        assert!((kimg - expected).abs() <= 1.5, "{kimg} {expected}");
        assert!((20. ..=80.).contains(&(kimg / recipe.training.tick_kimg.kimg())), "{recipe:?}");

        // Nothing is open, and dense layers have no width.
        for name in ["tutorial", "digits"] {
            let (recipe, lines) = complete(Draft::load(name, &[])?, &data, &Device::Cpu, (None, None))?;
            assert_eq!(recipe, Recipe::load(name, &[])?);
            assert!(said(&lines, "are not used") && lines.len() == 1, "{lines:?}");
        }
        Ok(())
    }
}
