//! How much memory a step of the game takes.

use super::Adversarial;
use crate::graph::{Graph, Value, Wanted};
use crate::objective::{Kind, Penalty};
use crate::recipe::Stages;

/// Batches that are made ahead: those that wait, and one in the making.
const AHEAD: u64 = 3;

impl Adversarial {
    /// Bytes that a step takes at most beside what the players keep, with `batch` images and latents at a time: batches,
    /// traces, gradients.
    pub fn step_bytes(&self, [generator, discriminator]: [&Graph; 2], batch: usize) -> u64 {
        let of = |elements: u64, copies: u64| elements.saturating_mul(copies);
        let sum = |all: &[u64]| all.iter().copied().fold(0, u64::saturating_add);
        // Packed images are fewer, and larger.
        let seen = batch / self.remedies.packing.0;
        let images = discriminator.elements(Value::Input(0), seen);
        let latents = generator.elements(Value::Input(0), batch);
        let parts = self.micro_batches as u64;
        // The gradients of the batches before this one.
        let gradients = of(generator.parameter_elements(), parts - 1);
        let of_generator = generator.trace_elements(batch);

        // The discriminator's turn, real images and generated ones together.
        let of_discriminator = discriminator.parameter_elements();
        let one_stage = self.stages == Stages::One;
        let wanted = if one_stage { Wanted::ALL } else { Wanted::PARAMETERS };
        let back = discriminator.backward_elements(2 * seen, wanted);
        let penalty = match self.penalties.len() as u64 {
            0 => 0,
            // Every value has a gradient and a tangent; images, a slope and a direction.
            _ => sum(&[of(discriminator.trace_elements(seen), 2), of(images, 3), of_discriminator]),
        };
        // Penalties are in single precision, whatever the layers compute in.
        let (size, single) = (self.dtype.size_in_bytes() as u64, size_of::<f32>() as u64);
        // They are taken of the trace at hand, or of images of their own, of both kinds at most.
        let of_trace = |penalty: &Penalty| matches!(penalty.kind, Kind::R1 | Kind::R2) && size == single;
        let own_trace = if self.penalties.iter().all(of_trace) { 0 } else { discriminator.trace_elements(2 * seen) };
        let penalised =
            sum(&[of(discriminator.trace_elements(2 * seen), size), of(penalty.saturating_add(own_trace), single)]);
        let judged = sum(&[
            of(back, size).max(penalised),
            of(of(of_discriminator, self.penalties.len() as u64), single),
            of(of(images, 2), size),
        ]);
        let meanwhile = match (self.stages, parts) {
            (Stages::Two, 2..) => images,
            (Stages::Two, _) => of_generator,
            (Stages::One, _) => of_generator.saturating_add(gradients),
        };
        let judging = judged.saturating_add(of(meanwhile, size));

        // The generator's: through the discriminator to its images, and on.
        let through = match one_stage {
            true => 0,
            false => {
                let real = if self.generator_has_own() { discriminator.forward_elements(seen) } else { 0 };
                sum(&[of_generator, discriminator.backward_elements(seen, Wanted::INPUTS), real])
            }
        };
        let on = images.saturating_add(generator.backward_elements(batch, Wanted::PARAMETERS));
        let learning = of(sum(&[gradients, through.max(on)]), size);

        let batches = of(images.saturating_add(latents), size.saturating_mul(parts) + single * AHEAD);
        batches.saturating_add(judging.max(learning))
    }
}
