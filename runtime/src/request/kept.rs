//! A request that has what it points to, for a thread that outlives the caller's memory.

use super::tour::{Stops, Tour, are_allowed};
use super::write::wrong_value;
use super::{Classes, Images, Latents, Request};
use crate::error::Result;

/// A copy of a request without end, and of all that it points to.
pub(crate) struct Kept {
    /// What it points to is empty, and stands in the fields below.
    plain: Request<'static>,
    seeds: Box<[u64]>,
    latents: Box<[f32]>,
    mean: Box<[f32]>,
    values: Box<[f32]>,
    bytes: Box<[u8]>,
}

impl Kept {
    /// `None` for a request that has an end.
    ///
    /// # Errors
    /// Latents that no generator takes: of a tour, whoever draws looks only at those that come next.
    pub(crate) fn new(request: &Request<'_>) -> Result<Option<Self>> {
        let (mut seeds, mut latents, mut values, mut bytes) = Default::default();
        let plain_latents = match request.latents {
            Latents::Seed(seed) => Latents::Seed(seed),
            Latents::Walk(walk) => Latents::Walk(walk),
            Latents::Tour(tour) if tour.is_closed => {
                let stops = match tour.stops {
                    Stops::Seeds(own) => {
                        seeds = own.into();
                        Stops::Seeds(&[])
                    }
                    Stops::Latents(own) if are_allowed(own) => {
                        latents = own.into();
                        Stops::Latents(&[])
                    }
                    Stops::Latents(_) => return Err(wrong_value("a latent")),
                };
                Latents::Tour(Tour { stops, ..tour })
            }
            Latents::Tour(_) | Latents::Seeds(_) | Latents::Given(_) => return Ok(None),
        };
        let classes = match request.classes {
            Classes::Own => Classes::Own,
            Classes::One(class) => Classes::One(class),
            Classes::Each(_) => return Ok(None),
        };
        let images = match request.images {
            Images::None => Images::None,
            Images::Values(own) => {
                values = own.into();
                Images::Values(&[])
            }
            Images::Bytes(own) => {
                bytes = own.into();
                Images::Bytes(&[])
            }
        };
        let (first, truncation, mean) = (request.first, request.truncation, request.mean);
        let plain = Request { latents: plain_latents, first, truncation, mean: mean.map(|_| &[][..]), classes, images };
        Ok(Some(Self { plain, seeds, latents, mean: mean.unwrap_or_default().into(), values, bytes }))
    }

    /// The request, from so many frames later on.
    pub(crate) fn later(&self, frames: u64) -> Request<'_> {
        let mut request: Request<'_> = self.plain;
        request.first = request.first.wrapping_add(frames);
        if let Latents::Tour(tour) = &mut request.latents {
            match &mut tour.stops {
                Stops::Seeds(seeds) => *seeds = &self.seeds,
                Stops::Latents(latents) => *latents = &self.latents,
            }
        }
        if let Some(mean) = &mut request.mean {
            *mean = &self.mean;
        }
        match &mut request.images {
            Images::None => (),
            Images::Values(values) => *values = &self.values,
            Images::Bytes(bytes) => *bytes = &self.bytes,
        }
        request
    }
}
