//! Walks through chosen images.

use super::{MAX_VALUE, argument};
use crate::error::Result;

/// A way through chosen images: in equal steps along the arc between each and the next one, to the last one, or, if it is
/// [`Self::closed`], back to the first and round without end.
///
/// ```
/// use runtime::{Request, Tour};
///
/// // 61 frames: image 0 of seed 5, that of seed 8 thirty frames later, and that of seed 13 at the end.
/// let there = Request::tour(Tour::seeds(&[5, 8, 13], 30));
/// // Ninety frames, then the same again: a loop.
/// let round = Request::tour(Tour::seeds(&[5, 8, 13], 30).closed());
/// ```
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tour<'a> {
    pub(super) stops: Stops<'a>,
    pub(super) steps: u32,
    pub(super) is_closed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stops<'a> {
    Seeds(&'a [u64]),
    Latents(&'a [f32]),
}

impl<'a> Tour<'a> {
    /// Through image 0 of each of these seeds, 2 or more, with so many steps from one to the next, 1 or more.
    pub fn seeds(seeds: &'a [u64], steps: u32) -> Self {
        Self { stops: Stops::Seeds(seeds), steps, is_closed: false }
    }

    /// Through these latents, [stops, latent_dim], 2 or more, with so many steps from one to the next, 1 or more. They are finite
    /// numbers of at most [`MAX_VALUE`].
    pub fn latents(latents: &'a [f32], steps: u32) -> Self {
        Self { stops: Stops::Latents(latents), steps, is_closed: false }
    }

    /// The same from the last stop back to the first, and so on without end.
    pub fn closed(mut self) -> Self {
        self.is_closed = true;
        self
    }

    /// How many stops there are.
    pub(super) fn len(&self, latent_dim: usize) -> usize {
        match self.stops {
            Stops::Seeds(seeds) => seeds.len(),
            Stops::Latents(latents) => latents.len() / latent_dim,
        }
    }

    /// Whether it is a tour, and has these frames.
    pub(super) fn check(&self, latent_dim: usize, first: u64, n: usize) -> Result<()> {
        let stops = self.len(latent_dim);
        if let Stops::Latents(latents) = self.stops
            && !latents.len().is_multiple_of(latent_dim)
        {
            return argument(format!("there are {} values of latents, each stop takes {latent_dim}", latents.len()));
        }
        if stops < 2 || self.steps == 0 {
            return argument(format!(
                "the tour has {stops} stops, {} steps each, allowed are 2 or more, 1 or more",
                self.steps
            ));
        }
        if self.is_closed {
            return Ok(());
        }
        let end = (stops as u64 - 1).saturating_mul(self.steps.into());
        match first.checked_add(n as u64 - 1) {
            Some(last) if last <= end => Ok(()),
            _ => argument(format!(
                "frames {first} to {} are asked for, the tour has frames 0 to {end}; close it to go round",
                u128::from(first) + n as u128 - 1
            )),
        }
    }

    /// The numbers of the stops that a frame lies between, and how far it is from the one to the other.
    pub(super) fn place(&self, stops: usize, frame: u64) -> (usize, usize, f64) {
        let (stops, steps) = (stops as u64, u64::from(self.steps));
        let from = frame / steps % stops;
        // The last frame of one that is not closed has nothing of the stop after it.
        (from as usize, ((from + 1) % stops) as usize, (frame % steps) as f64 / steps as f64)
    }
}

/// Whether all of these numbers may go into a generator. In this form a NaN is refused, too.
pub(crate) fn are_allowed(values: &[f32]) -> bool {
    values.iter().all(|x| x.abs() <= MAX_VALUE)
}
