//! What to draw: latents by seed, along a walk or of one's own; truncation; class labels; an image to begin with.

use crate::buffer::Buffer;
use crate::error::{Error, Result};
use crate::latent::{Element, fill_latent, fill_truncated, walk};
use crate::model::ModelInfo;
use half::f16;

/// Largest magnitude of a latent's or an input image's values: the largest finite `f16`.
pub const MAX_VALUE: f32 = 65504.;

/// A way through the latents of a seed: from image to image, in equal steps along the arc between each two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Walk {
    /// The seed of the images that it passes.
    pub seed: u64,
    /// Index of the image that it begins at; the next ones follow.
    pub first_index: u64,
    /// Frames from one of these images to the next, at least 1.
    pub steps: u32,
}

#[derive(Clone, Copy, Debug)]
enum Latents<'a> {
    Seed(u64),
    Seeds(&'a [u64]),
    Walk(Walk),
    Given(&'a [f32]),
}

#[derive(Clone, Copy, Debug)]
enum Classes<'a> {
    Own,
    One(u32),
    Each(&'a [u32]),
}

#[derive(Clone, Copy, Debug)]
enum Images<'a> {
    None,
    Values(&'a [f32]),
    Bytes(&'a [u8]),
}

/// What to draw, for [`Generator::draw`](crate::Generator::draw), [`Pool::draw`](crate::Pool::draw) and
/// [`Stream`](crate::Stream).
///
/// ```
/// use runtime::{Request, Walk};
///
/// // Images 100, 101, ... of seed 7, typical ones only, all of class 3.
/// let threes = Request::seed(7).first(100).truncation(0.7).class(3);
/// // Half a second of film between each two images of seed 9.
/// let film = Request::walk(Walk { seed: 9, first_index: 0, steps: 30 });
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    latents: Latents<'a>,
    first: u64,
    truncation: Option<f32>,
    classes: Classes<'a>,
    images: Images<'a>,
}

impl<'a> Request<'a> {
    fn new(latents: Latents<'a>) -> Self {
        Self { latents, first: 0, truncation: None, classes: Classes::Own, images: Images::None }
    }

    /// Images of a seed, from index 0 on.
    pub fn seed(seed: u64) -> Self {
        Self::new(Latents::Seed(seed))
    }

    /// An image of each of these seeds: the one of index 0, or of [`Self::first`].
    pub fn seeds(seeds: &'a [u64]) -> Self {
        Self::new(Latents::Seeds(seeds))
    }

    /// Frames of a walk, from its beginning.
    pub fn walk(walk: Walk) -> Self {
        Self::new(Latents::Walk(walk))
    }

    /// Images of these latents, [n, latent_dim], finite numbers of at most [`MAX_VALUE`].
    pub fn latents(latents: &'a [f32]) -> Self {
        Self::new(Latents::Given(latents))
    }

    /// Begins at this index of the seed, or frame of the walk; of seeds, takes this image of each. Of no effect on given latents.
    pub fn first(mut self, index: u64) -> Self {
        self.first = index;
        self
    }

    /// Cuts the normal distribution off at `threshold` standard deviations, greater than 0: more typical images, less
    /// variety (the truncation trick: Brock and others, 2019). For seeds and walks.
    pub fn truncation(mut self, threshold: f32) -> Self {
        self.truncation = Some(threshold);
        self
    }

    /// All images of this class, for conditional generators; [`ModelInfo::class_named`] finds one by its name. Without it, the
    /// class of an image of a seed or of seeds is its index modulo the number of classes, and that of every other image is 0.
    pub fn class(mut self, class: u32) -> Self {
        self.classes = Classes::One(class);
        self
    }

    /// A class for each image.
    pub fn classes(mut self, classes: &'a [u32]) -> Self {
        self.classes = Classes::Each(classes);
        self
    }

    /// The image to begin with, for image-to-image generators, or one for each image: [C, h, w] or [n, C, h, w], nominally
    /// in [-1, 1].
    pub fn image(mut self, image: &'a [f32]) -> Self {
        self.images = Images::Values(image);
        self
    }

    /// As [`Self::image`], 0 to 255.
    pub fn image_bytes(mut self, image: &'a [u8]) -> Self {
        self.images = Images::Bytes(image);
        self
    }

    /// The request for what comes `frames` later.
    pub(crate) fn later(mut self, frames: u64) -> Self {
        self.first = self.first.wrapping_add(frames);
        self
    }

    /// Whether every image can be drawn by itself, without end.
    pub(crate) fn is_endless(&self) -> bool {
        !matches!(self.latents, Latents::Given(_) | Latents::Seeds(_)) && !matches!(self.classes, Classes::Each(_))
    }

    /// Checks all but the latents' and images' values, which are looked at when they are copied.
    fn check(&self, info: &ModelInfo, n: usize) -> Result<()> {
        match (self.latents, self.truncation) {
            (Latents::Given(_), Some(_)) => {
                return argument("truncation is for seeds and walks; given latents are taken as they are".into());
            }
            (_, Some(threshold)) if !(threshold > 0. && threshold.is_finite()) => {
                return argument(format!("the truncation is {threshold}, allowed is a number greater than 0"));
            }
            (Latents::Walk(Walk { steps: 0, .. }), _) => {
                return argument("the walk has 0 steps, allowed is 1 or more".into());
            }
            (Latents::Given(z), _) if Some(z.len()) != n.checked_mul(info.latent_dim) => {
                let (len, width) = (z.len(), info.latent_dim);
                return argument(format!("there are {len} values of latents, {n} images take {n} x {width}"));
            }
            (Latents::Seeds(seeds), _) if seeds.len() != n => {
                return argument(format!("there are {} seeds for {n} images", seeds.len()));
            }
            _ => (),
        }
        let classes = match &self.classes {
            Classes::Own => &[],
            Classes::One(class) => std::slice::from_ref(class),
            Classes::Each(classes) if classes.len() != n => {
                return argument(format!("there are {} classes for {n} images", classes.len()));
            }
            Classes::Each(classes) => *classes,
        };
        if let Some(class) = classes.iter().find(|&&class| class as usize >= info.classes) {
            return argument(match info.classes {
                0 => "a class is asked for, but the generator is unconditional".into(),
                classes => format!("class {class} is asked for, allowed is 0 to {}", classes - 1),
            });
        }
        let (len, given) = match self.images {
            Images::None => (0, false),
            Images::Values(values) => (values.len(), true),
            Images::Bytes(bytes) => (bytes.len(), true),
        };
        match info.image_in.map(|image| image.len()) {
            None if given => argument("an image is given, but the generator takes none".into()),
            None => Ok(()),
            Some(_) if !given => argument("the generator makes images from images: give one with the request".into()),
            Some(one) if len != one && Some(len) != n.checked_mul(one) => {
                argument(format!("the images given have {len} values, allowed are {one} or {n} x {one}"))
            }
            Some(_) => Ok(()),
        }
    }

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
            Latents::Given(given) => {
                copy(given, z).ok_or_else(|| wrong_value("a latent"))?;
            }
        }
        Ok(())
    }

    /// Writes the latent of an image of a seed.
    fn fill<T: Element>(&self, seed: u64, index: u64, z: &mut [T]) {
        match self.truncation {
            Some(threshold) => fill_truncated(seed, index, threshold, z),
            None => fill_latent(seed, index, z),
        }
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

/// The memory that a generator's inputs are read from.
pub(crate) struct Inputs {
    pub(crate) latent: Buffer,
    pub(crate) class: Option<Buffer>,
    pub(crate) image: Option<Buffer>,
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

fn wrong_value(what: &str) -> Error {
    Error::argument(format!("{what} has a value that is not finite or exceeds {}", f16::MAX))
}

fn argument<T>(what: String) -> Result<T> {
    Err(Error::argument(what))
}
