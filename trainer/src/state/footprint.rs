//! Whether there is memory for a run, before any is taken: a recipe of a few lines can ask for more than any machine has.

use super::{SAMPLING_BYTES, STATISTICS_LATENTS};
use crate::data::{self, Dataset};
use crate::error::{Error, Result};
use crate::game::Adversarial;
use crate::graph::{Graph, Network};
use crate::memory;
use crate::optim::Optimizer;
use crate::recipe::{Arithmetic, Recipe};
use crate::watch::grid;
use candle_core::Device;
use runtime::ImageShape;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes of a number in single precision.
const SINGLE: u64 = size_of::<f32>() as u64;

/// What a run takes at most, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Needs {
    /// What the players keep: parameters, moments, averages, gradients, copies in half precision.
    pub kept: u64,
    /// What a step takes beside that.
    pub step: u64,
    /// What samples take beside both: a step's memory stays what it is, in pieces of other sizes.
    pub sampling: u64,
    /// What a checkpoint takes beside the first two, in the memory of the CPU: the state once more, and the file that is made
    /// of it.
    pub checkpoint: u64,
}

impl Needs {
    /// Those of the recipe's networks, without weights ([`Recipe::outlines`]), on a GPU or with so many threads on a CPU.
    pub fn of(recipe: &Recipe, image: ImageShape, [g, d]: [&Network; 2], threads: Option<usize>) -> Result<Self> {
        let batch = recipe.training.batch / recipe.training.micro_batches;
        let players = [(g, recipe.optimizer.generator, 1), (d, recipe.optimizer.discriminator, 0)];
        let state = |gradients: u64| {
            let history = u64::from(recipe.remedies.historical_averaging > 0.);
            let rows =
                |optimizer: Optimizer, averages: u64| 1 + optimizer.moments() as u64 + averages + history + gradients;
            let of = |(network, optimizer, averages): (&Network, _, _)| {
                network.graph().parameter_elements().saturating_mul(rows(optimizer, averages) * SINGLE)
            };
            players.map(of).into_iter().fold(0, u64::saturating_add)
        };
        let copies = match recipe.training.precision {
            Arithmetic::F32 | Arithmetic::Tf32 => 0,
            half => half.dtype().size_in_bytes() as u64,
        };
        let of_copies = [g, d].map(|network| network.graph().parameter_elements().saturating_mul(copies));
        let game = Adversarial::new(recipe, &Device::Cpu)?;
        let mut scratch = 0;
        for (network, batch) in [(g, batch), (d, 2 * batch)] {
            let found = network.graph().scratch(batch)?;
            let elements = match threads {
                Some(threads) => found.of_thread.saturating_mul(threads as u64).saturating_add(found.shared),
                None => found.of_gpu,
            };
            scratch = elements.saturating_mul(SINGLE).max(scratch);
        }
        Ok(Self {
            kept: of_copies.into_iter().fold(state(1), u64::saturating_add),
            step: game.step_bytes([g.graph(), d.graph()], batch).saturating_add(scratch),
            sampling: sampling(g.graph(), image),
            checkpoint: state(0).saturating_mul(2),
        })
    }
}

/// Statistics or a grid of images of this shape on their way through the generator, and the grid's images twice.
fn sampling(generator: &Graph, image: ImageShape) -> u64 {
    let most = if generator.mixes_samples().is_some() { STATISTICS_LATENTS } else { 1 };
    let (columns, rows) = grid::layout(image);
    let batch = generator.samples_within(SAMPLING_BYTES, most.max(columns * rows));
    let images = generator.elements(generator.outputs()[0], columns * rows).saturating_mul(2);
    generator.forward_elements(batch).saturating_add(images).saturating_mul(SINGLE)
}

/// The most bytes that were granted. What a state of this process has let go of is kept for the next one, and is no longer among
/// what the machine has to give: to load a checkpoint takes no more than what has learned it.
#[derive(Debug, Default)]
struct Granted(AtomicU64);

impl Granted {
    /// Whether so many are there, where `free` can be had, if that is known.
    fn grant(&self, needed: u64, free: Option<u64>) -> bool {
        let granted = free.is_none_or(|free| needed <= free.max(self.0.load(Ordering::Relaxed)));
        if granted {
            self.0.fetch_max(needed, Ordering::Relaxed);
        }
        granted
    }
}

/// On the CPU.
static GRANTED: Granted = Granted(AtomicU64::new(0));

/// # Errors
/// A run that needs more memory than there is.
pub(super) fn check(recipe: &Recipe, data: &Dataset, device: &Device) -> Result<()> {
    let (generator, discriminator) = recipe.outlines(recipe.subject(data)?)?;
    let threads = device.is_cpu().then(rayon::current_num_threads);
    let needs = Needs::of(recipe, data.shape(), [&generator, &discriminator], threads)?;
    let (here, host) = match device.is_cpu() {
        true => (needs.step.saturating_add(needs.sampling.max(needs.checkpoint)), 0),
        false => {
            let images = data::resident_bytes(data, device);
            (needs.step.saturating_add(needs.sampling).saturating_add(images), needs.checkpoint)
        }
    };
    let refuse = |needed: u64, what: &str, free: u64, place: &str| {
        let image = data.shape();
        let what = format!(
            "needs about {} of memory to train on images of {} x {} ({} for parameters and what is kept of each, {} for {what}), \
             and {place} has {} to give; lower generator.width or generator.hidden, discriminator.width or training.batch, \
             raise training.micro_batches, or take smaller images",
            memory::amount(needed),
            image.width,
            image.height,
            memory::amount(needs.kept),
            memory::amount(needed.saturating_sub(needs.kept)),
            memory::amount(free),
        );
        Err(Error::Recipe { origin: recipe.name.clone(), what })
    };
    let needed = needs.kept.saturating_add(here);
    let place = if device.is_cpu() { "this machine" } else { "the GPU" };
    let free = memory::available(device);
    let granted = if device.is_cpu() { GRANTED.grant(needed, free) } else { Granted::default().grant(needed, free) };
    if !granted {
        return refuse(needed, "steps, samples and checkpoints", free.unwrap_or(0), place);
    }
    match memory::available(&Device::Cpu) {
        Some(free) if host > free => refuse(needs.kept.saturating_add(host), "a checkpoint", free, "this machine"),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn recipe(overrides: &[(&str, i64)]) -> Recipe {
        let overrides: Vec<_> = overrides.iter().map(|(key, value)| ((*key).to_owned(), (*value).into())).collect();
        Recipe::load("digits", &overrides).expect("a valid recipe")
    }

    fn needs(recipe: &Recipe, side: usize, threads: Option<usize>) -> Result<Needs> {
        let image = ImageShape { channels: 1, height: side, width: side };
        let (g, d) = recipe.outlines(image)?;
        Needs::of(recipe, image, [&g, &d], threads)
    }

    /// As measured on two threads: most of what the process then had at its peak, in megabytes.
    #[test]
    fn needs_are_those_that_were_measured() -> Result<()> {
        let wide: &[(&str, i64)] = &[("generator.width", 128), ("discriminator.width", 128), ("training.batch", 512)];
        let parts = [wide, &[("training.micro_batches", 8)]].concat();
        for (overrides, side, measured) in
            [(wide, 28, 710.), (&parts[..], 28, 380.), (&[("training.batch", 16)][..], 256, 1850.)]
        {
            let needs = needs(&recipe(overrides), side, Some(2))?;
            let all = (needs.kept + needs.step + needs.sampling.max(needs.checkpoint)) as f64 / 1e6;
            assert!((0.75..1.3).contains(&(all / measured)), "{overrides:?}: {all} MB, measured {measured}");
        }
        Ok(())
    }

    /// More threads work in more memory, half precision needs copies and smaller traces, and a GPU gathers patches.
    #[test]
    fn needs_follow_the_device() -> Result<()> {
        let mut recipe = recipe(&[]);
        let single = needs(&recipe, 64, Some(1))?;
        assert!(needs(&recipe, 64, Some(16))?.step > single.step);
        recipe.training.precision = Arithmetic::Bf16;
        let half = needs(&recipe, 64, Some(1))?;
        assert!(half.step < single.step && half.kept > single.kept && half.checkpoint == single.checkpoint);
        Ok(())
    }

    /// A second state in the memory of the first, which the system does not count as free; not a larger one.
    #[test]
    fn what_was_granted_is_granted_again() {
        let granted = Granted::default();
        assert!(!granted.grant(21, Some(20)) && granted.grant(20, Some(20)));
        assert!(granted.grant(20, Some(5)) && granted.grant(10, Some(5)));
        assert!(!granted.grant(21, Some(5)) && granted.grant(21, None) && granted.grant(21, Some(5)));
    }

    #[test]
    fn what_no_machine_has_is_refused_with_figures_and_advice() {
        let hostile = recipe(&[("generator.width", 1024), ("discriminator.width", 1024), ("training.batch", 4096)]);
        for (recipe, side) in [(hostile, 1024), (recipe(&[]), 4096)] {
            let data =
                Dataset::new("hostile", ImageShape { channels: 1, height: side, width: side }, vec![0; side * side]);
            let error = check(&recipe, &data, &Device::Cpu).expect_err("no machine has this").to_string();
            let said = ["needs about", "B of memory", "generator.width", "training.batch", "training.micro_batches"];
            assert!(said.iter().all(|words| error.contains(words)), "{error}");
        }
    }
}
