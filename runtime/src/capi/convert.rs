//! From C's structs to the crate's types and back.

use super::memory;
use super::status::Failure;
use super::structs::*;
use crate::generator::Generator;
use crate::model::{ImageShape, Precision};
use crate::options::{Options, Provider, Start};
use crate::request::{Request, Tour, Walk};
use std::time::Duration;

/// An error that names the values an enumeration has.
fn unknown<T>(name: &str, value: u32, allowed: &str) -> Result<T, Failure> {
    Err(Failure::argument(format!("{name} is {value}, allowed are {allowed}")))
}

pub(super) fn options(options: &KilnOptions) -> Result<Options, Failure> {
    Ok(Options {
        provider: match options.provider {
            KILN_PROVIDER_AUTO => Provider::Auto,
            KILN_PROVIDER_CPU => Provider::Cpu,
            KILN_PROVIDER_CUDA => Provider::Cuda,
            other => unknown("options.provider", other, "KILN_PROVIDER_AUTO (0), _CPU (1) and _CUDA (2)")?,
        },
        start: match options.start {
            KILN_START_STEADY => Start::Steady,
            KILN_START_FAST => Start::Fast,
            other => unknown("options.start", other, "KILN_START_STEADY (0) and _FAST (1)")?,
        },
        prepack: by_start("options.prepack", options.prepack)?,
        self_test: by_start("options.self_test", options.self_test)?,
        threads: options.threads as usize,
        max_batch: options.max_batch as usize,
        spinning: match options.spinning {
            0 => false,
            1 => true,
            other => unknown("options.spinning", other, "0 and 1")?,
        },
        time_limit: (options.time_limit_ms > 0).then(|| Duration::from_millis(options.time_limit_ms.into())),
        ..Options::default()
    })
}

/// A choice that goes by the start where none is made.
fn by_start(name: &str, value: u32) -> Result<Option<bool>, Failure> {
    match value {
        KILN_BY_START => Ok(None),
        KILN_YES => Ok(Some(true)),
        KILN_NO => Ok(Some(false)),
        other => unknown(name, other, "KILN_BY_START (0), KILN_YES (1) and KILN_NO (2)"),
    }
}

pub(super) fn info(generator: &Generator) -> KilnInfo {
    let info = generator.info();
    // All of these are limited to far less when the file is read.
    let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX);
    let shape = |image: ImageShape| KilnImageShape {
        channels: number(image.channels),
        height: number(image.height),
        width: number(image.width),
    };
    KilnInfo {
        struct_size: size_of::<KilnInfo>(),
        image_len: info.image.len(),
        image_in_len: info.image_in.map_or(0, |image| image.len()),
        images_seen: info.images_seen.unwrap_or(0),
        image: shape(info.image),
        image_in: info.image_in.map(shape).unwrap_or_default(),
        latent_dim: number(info.latent_dim),
        classes: number(info.classes),
        precision: match info.precision {
            Precision::F16 => KILN_ELEMENT_F16,
            Precision::F32 => KILN_ELEMENT_F32,
            Precision::Int8 => KILN_ELEMENT_U8,
        },
        provider: match generator.provider() {
            Provider::Auto => KILN_PROVIDER_AUTO,
            Provider::Cpu => KILN_PROVIDER_CPU,
            Provider::Cuda => KILN_PROVIDER_CUDA,
        },
        max_batch: number(generator.max_batch()),
        reserved: 0,
        buffer_bytes: generator.buffer_bytes() as u64,
        tolerance: info.self_test.tolerance,
        has_class_names: (!info.class_names.is_empty()).into(),
    }
}

/// # Safety
/// Pointers that the request's choices use must be null or point to as many elements as the lengths beside them say, which
/// stay as they are for as long as the request lives.
pub(super) unsafe fn request<'a>(from: &KilnRequest) -> Result<Request<'a>, Failure> {
    if from.reserved != 0 {
        return Err(Failure::argument(format!("request.reserved is {}, allowed is 0", from.reserved)));
    }
    // SAFETY: the caller's promise.
    let seeds = || unsafe { memory::read("request.seeds", from.seeds, from.seeds_len) };
    // SAFETY: as above.
    let given = || unsafe { memory::read("request.given", from.given, from.given_len) };
    let tour = |tour: Tour<'a>| match from.tour_closed {
        0 => Ok(Request::tour(tour)),
        1 => Ok(Request::tour(tour.closed())),
        other => unknown("request.tour_closed", other, "0 and 1"),
    };
    let request = match from.latents {
        KILN_LATENTS_SEED => Request::seed(from.seed),
        KILN_LATENTS_WALK => {
            Request::walk(Walk { seed: from.seed, first_index: from.walk_first_index, steps: from.walk_steps })
        }
        KILN_LATENTS_GIVEN => Request::latents(given()?),
        KILN_LATENTS_SEEDS => Request::seeds(seeds()?),
        KILN_LATENTS_TOUR_SEEDS => tour(Tour::seeds(seeds()?, from.walk_steps))?,
        KILN_LATENTS_TOUR_GIVEN => tour(Tour::latents(given()?, from.walk_steps))?,
        other => {
            let allowed =
                "KILN_LATENTS_SEED (0), _WALK (1), _GIVEN (2), _SEEDS (3), _TOUR_SEEDS (4) and _TOUR_GIVEN (5)";
            unknown("request.latents", other, allowed)?
        }
    };
    let request = request.first(from.first);
    // In this form a NaN goes on to where it is refused.
    let request = if from.truncation == 0. { request } else { request.truncation(from.truncation) };
    let request = match (from.truncation_mean, from.truncation_mean_len) {
        (mean, 0) if mean.is_null() => request,
        // SAFETY: the caller's promise.
        (mean, len) => request.truncation_mean(unsafe { memory::read("request.truncation_mean", mean, len) }?),
    };
    let request = match from.classes {
        KILN_CLASSES_OWN => request,
        KILN_CLASSES_ONE => request.class(from.one_class),
        KILN_CLASSES_EACH => {
            // SAFETY: the caller's promise.
            request.classes(unsafe { memory::read("request.each_class", from.each_class, from.each_class_len) }?)
        }
        other => unknown("request.classes", other, "KILN_CLASSES_OWN (0), _ONE (1) and _EACH (2)")?,
    };
    let (image, len) = (from.image, from.image_len);
    Ok(match from.images {
        KILN_IMAGES_NONE => request,
        // SAFETY: the caller's promise.
        KILN_IMAGES_F32 => request.image(unsafe { memory::read("request.image", image.cast(), len) }?),
        // SAFETY: the caller's promise.
        KILN_IMAGES_U8 => request.image_bytes(unsafe { memory::read("request.image", image.cast(), len) }?),
        other => unknown("request.images", other, "KILN_IMAGES_NONE (0), _F32 (1) and _U8 (2)")?,
    })
}

/// The memory that a request's choices read: name, address and bytes of each.
pub(super) fn inputs(from: &KilnRequest) -> [(&'static str, usize, usize); 5] {
    let used = |name, used: bool, address: usize, len: usize, size: usize| {
        (name, address, if used { len.saturating_mul(size) } else { 0 })
    };
    let size = if from.images == KILN_IMAGES_U8 { 1 } else { 4 };
    let is_given = matches!(from.latents, KILN_LATENTS_GIVEN | KILN_LATENTS_TOUR_GIVEN);
    let has_seeds = matches!(from.latents, KILN_LATENTS_SEEDS | KILN_LATENTS_TOUR_SEEDS);
    [
        used("request.given", is_given, from.given as usize, from.given_len, 4),
        used("request.seeds", has_seeds, from.seeds as usize, from.seeds_len, 8),
        used("request.truncation_mean", true, from.truncation_mean as usize, from.truncation_mean_len, 4),
        used("request.each_class", from.classes == KILN_CLASSES_EACH, from.each_class as usize, from.each_class_len, 4),
        used("request.image", from.images != KILN_IMAGES_NONE, from.image as usize, from.image_len, size),
    ]
}
