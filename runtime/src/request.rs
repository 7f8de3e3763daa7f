//! What to draw: latents by seed, along a walk or of one's own; truncation; class labels; an image to begin with.

mod kept;
mod tour;
mod write;

pub(crate) use kept::Kept;
pub use tour::Tour;
pub(crate) use write::Inputs;

use crate::error::{Error, Result};
use crate::model::ModelInfo;
use tour::Stops;
pub(crate) use tour::are_allowed;
use write::wrong_value;

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
    Tour(Tour<'a>),
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
///
/// [`Tour`] is a walk through images that are chosen.
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    latents: Latents<'a>,
    first: u64,
    truncation: Option<f32>,
    mean: Option<&'a [f32]>,
    classes: Classes<'a>,
    images: Images<'a>,
}

impl<'a> Request<'a> {
    fn new(latents: Latents<'a>) -> Self {
        Self { latents, first: 0, truncation: None, mean: None, classes: Classes::Own, images: Images::None }
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

    /// Frames of a tour, from its beginning.
    pub fn tour(tour: Tour<'a>) -> Self {
        Self::new(Latents::Tour(tour))
    }

    /// Images of these latents, [n, latent_dim], finite numbers of at most [`MAX_VALUE`].
    pub fn latents(latents: &'a [f32]) -> Self {
        Self::new(Latents::Given(latents))
    }

    /// Begins at this index of the seed, or frame of the walk or tour; of seeds, takes this image of each. Of no effect on
    /// given latents.
    pub fn first(mut self, index: u64) -> Self {
        self.first = index;
        self
    }

    /// Cuts the normal distribution off at `threshold` standard deviations, greater than 0: more typical images, less
    /// variety (the truncation trick: Brock and others, 2019). For seeds, and walks and tours of them.
    pub fn truncation(mut self, threshold: f32) -> Self {
        self.truncation = Some(threshold);
        self
    }

    /// Truncates towards this latent, \[latent_dim\], such as the mean of a class, and not towards 0: the normal distribution is
    /// cut off at the threshold on both sides of it. To be given with [`Self::truncation`].
    pub fn truncation_mean(mut self, mean: &'a [f32]) -> Self {
        self.mean = Some(mean);
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

    /// Checks all but the latents' and images' values, which are looked at when they are copied.
    fn check(&self, info: &ModelInfo, n: usize) -> Result<()> {
        match (self.latents, self.truncation) {
            (Latents::Given(_) | Latents::Tour(Tour { stops: Stops::Latents(_), .. }), Some(_)) => {
                return argument("truncation is for seeds and walks; given latents are taken as they are".into());
            }
            (_, Some(threshold)) if !(threshold > 0. && threshold.is_finite()) => {
                return argument(format!("the truncation is {threshold}, allowed is a number greater than 0"));
            }
            (_, None) if self.mean.is_some() => {
                return argument("a mean to truncate towards is given, but no truncation".into());
            }
            (Latents::Walk(Walk { steps: 0, .. }), _) => {
                return argument("the walk has 0 steps, allowed is 1 or more".into());
            }
            (Latents::Tour(tour), _) => tour.check(info.latent_dim, self.first, n)?,
            (Latents::Given(z), _) if Some(z.len()) != n.checked_mul(info.latent_dim) => {
                let (len, width) = (z.len(), info.latent_dim);
                return argument(format!("there are {len} values of latents, {n} images take {n} x {width}"));
            }
            (Latents::Seeds(seeds), _) if seeds.len() != n => {
                return argument(format!("there are {} seeds for {n} images", seeds.len()));
            }
            _ => (),
        }
        match self.mean {
            Some(mean) if mean.len() != info.latent_dim => {
                let (len, width) = (mean.len(), info.latent_dim);
                return argument(format!("the mean to truncate towards has {len} values, allowed are {width}"));
            }
            Some(mean) if !are_allowed(mean) => return Err(wrong_value("the mean to truncate towards")),
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
}

fn argument<T>(what: String) -> Result<T> {
    Err(Error::argument(what))
}
