//! Whether there is memory for a run, before any is taken: a recipe of a few lines can ask for more than any machine has.

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::game::Adversarial;
use crate::graph::Network;
use crate::memory;
use crate::optim::Optimizer;
use crate::recipe::{Arithmetic, Recipe};
use candle_core::Device;

/// Bytes of a number in single precision.
const SINGLE: u64 = size_of::<f32>() as u64;

/// What a run takes at most, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Needs {
    /// What the players keep: parameters, moments, averages, gradients, copies in half precision.
    pub kept: u64,
    /// What a step takes beside that.
    pub step: u64,
    /// What a checkpoint takes beside that, in the memory of the CPU: the state once more, and the file that is made of it.
    pub checkpoint: u64,
}

impl Needs {
    /// Those of the recipe's networks, without weights ([`Recipe::outlines`]), on a GPU or with so many threads on a CPU.
    pub fn of(recipe: &Recipe, [g, d]: [&Network; 2], threads: Option<usize>) -> Result<Self> {
        let batch = recipe.training.batch / recipe.training.micro_batches;
        let players = [(g, recipe.optimizer.generator, 1), (d, recipe.optimizer.discriminator, 0)];
        let state = |gradients: u64| {
            let rows = |optimizer: Optimizer, averages: u64| 1 + optimizer.moments() as u64 + averages + gradients;
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
        let game = Adversarial::new(recipe);
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
            checkpoint: state(0).saturating_mul(2),
        })
    }
}

/// # Errors
/// A run that needs more memory than there is.
pub(super) fn check(recipe: &Recipe, data: &Dataset, device: &Device) -> Result<()> {
    let (generator, discriminator) = recipe.outlines(data.shape())?;
    let threads = device.is_cpu().then(rayon::current_num_threads);
    let needs = Needs::of(recipe, [&generator, &discriminator], threads)?;
    let (here, host) = match device.is_cpu() {
        true => (needs.step.max(needs.checkpoint), 0),
        false => (needs.step.saturating_add(data.len() as u64 * data.shape().len() as u64), needs.checkpoint),
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
    match memory::available(device) {
        Some(free) if needed > free => return refuse(needed, "a step", free, place),
        _ => (),
    }
    match memory::available(&Device::Cpu) {
        Some(free) if host > free => refuse(needs.kept.saturating_add(host), "a checkpoint", free, "this machine"),
        _ => Ok(()),
    }
}
