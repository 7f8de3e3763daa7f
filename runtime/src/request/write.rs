//! The inputs of a request, written to where a generator reads them.

use super::tour::Stops;
use super::{Classes, Images, Latents, MAX_VALUE, Request, Walk};
use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::latent::{Element, fill_latent, fill_truncated, fill_truncated_towards, walk};
use crate::model::ModelInfo;
use half::f16;

/// The memory that a generator's inputs are read from.
pub(crate) struct Inputs {
    pub(crate) latent: Buffer,
    pub(crate) class: Option<Buffer>,
    pub(crate) image: Option<Buffer>,
}

impl Request<'_> {
    /// Writes the inputs of `n` images into the buffers; `scratch` holds two latents.
    pub(crate) fn write(&self, info: &ModelInfo, n: usize, inputs: &mut Inputs, scratch: &mut [f32]) -> Result<()> {
        self.check(info, n)?;
        match &mut inputs.latent {
            Buffer::F16(z) => self.write_latents(info, n, z, scratch)?,
            Buffer::F32(z) => self.write_latents(info, n, z, scratch)?,
            Buffer::I64(_) => (),
        }
        if let Some(Buffer::I64(labels)) = &mut inputs.class {
            for (i, label) in labels.iter_mut().take(n).enumerate() {
                *label = match (self.classes, self.latents) {
                    (Classes::One(class), _) => class.into(),
                    (Classes::Each(classes), _) => classes[i].into(),
                    // Less than the number of classes, which is at most `MAX_CLASSES`.
                    (Classes::Own, Latents::Seed(_)) => {
                        (self.first.wrapping_add(i as u64) % info.classes.max(1) as u64) as i64
                    }
                    (Classes::Own, Latents::Seeds(_)) => (self.first % info.classes.max(1) as u64) as i64,
                    (Classes::Own, _) => 0,
                };
            }
        }
        match (&mut inputs.image, info.image_in) {
            (Some(Buffer::F16(image)), Some(shape)) => self.write_images(&mut image[..n * shape.len()]),
            (Some(Buffer::F32(image)), Some(shape)) => self.write_images(&mut image[..n * shape.len()]),
            _ => Ok(()),
        }
    }

    fn write_latents<T: Element>(&self, info: &ModelInfo, n: usize, z: &mut [T], scratch: &mut [f32]) -> Result<()> {
        let rows = z.chunks_exact_mut(info.latent_dim).take(n);
        let rows = (0..n as u64).map(|i| self.first.wrapping_add(i)).zip(rows);
        match self.latents {
            Latents::Seed(seed) => rows.for_each(|(index, z)| self.fill(seed, index, z)),
            Latents::Seeds(seeds) => rows.zip(seeds).for_each(|((_, z), &seed)| self.fill(seed, self.first, z)),
            Latents::Walk(Walk { seed, first_index, steps }) => {
                let (a, b) = scratch.split_at_mut(info.latent_dim);
                for (frame, z) in rows {
                    let from = first_index.wrapping_add(frame / u64::from(steps));
                    self.fill(seed, from, a);
                    self.fill(seed, from.wrapping_add(1), b);
                    walk(a, b, (frame % u64::from(steps)) as f64 / f64::from(steps), z);
                }
            }
            Latents::Tour(tour) => {
                let (stops, (a, b)) = (tour.len(info.latent_dim), scratch.split_at_mut(info.latent_dim));
                for (frame, z) in rows {
                    let (from, to, t) = tour.place(stops, frame);
                    self.write_stop(tour.stops, from, a)?;
                    self.write_stop(tour.stops, to, b)?;
                    walk(a, b, t, z);
                }
            }
            Latents::Given(given) => {
                copy(given, z).ok_or_else(|| wrong_value("a latent"))?;
            }
        }
        Ok(())
    }

    /// Writes the latent of an image of a seed.
    fn fill<T: Element>(&self, seed: u64, index: u64, z: &mut [T]) {
        match (self.truncation, self.mean) {
            (Some(threshold), Some(mean)) => fill_truncated_towards(seed, index, threshold, mean, z),
            (Some(threshold), None) => fill_truncated(seed, index, threshold, z),
            (None, _) => fill_latent(seed, index, z),
        }
    }

    /// Writes the latent of a stop of a tour.
    fn write_stop(&self, stops: Stops<'_>, at: usize, z: &mut [f32]) -> Result<()> {
        match stops {
            Stops::Seeds(seeds) => self.fill(seeds[at], 0, z),
            Stops::Latents(latents) => {
                copy(&latents[at * z.len()..][..z.len()], z).ok_or_else(|| wrong_value("a latent"))?;
            }
        }
        Ok(())
    }

    fn write_images<T: Element>(&self, out: &mut [T]) -> Result<()> {
        match self.images {
            Images::None => Ok(()),
            Images::Values(values) => out
                .chunks_exact_mut(values.len())
                .try_for_each(|out| copy(values, out))
                .ok_or_else(|| wrong_value("an input image")),
            Images::Bytes(bytes) => {
                for out in out.chunks_exact_mut(bytes.len()) {
                    out.iter_mut().zip(bytes).for_each(|(out, &b)| *out = T::from_f32(f32::from(b) / 127.5 - 1.));
                }
                Ok(())
            }
        }
    }
}

/// Copies finite numbers; `None` if there are others.
fn copy<T: Element>(from: &[f32], to: &mut [T]) -> Option<()> {
    for (to, &x) in to.iter_mut().zip(from) {
        // In this form a NaN is refused, too.
        let allowed = x.abs() <= MAX_VALUE;
        if !allowed {
            return None;
        }
        *to = T::from_f32(x);
    }
    Some(())
}

pub(super) fn wrong_value(what: &str) -> Error {
    Error::argument(format!("{what} has a value that is not finite or exceeds {}", f16::MAX))
}
