//! What a generator file says of itself: the one definition of the file's metadata, for writing and for reading.
//!
//! An ONNX file carries these keys in `metadata_props`, a safetensors file in `__metadata__`:
//!
//! | key | value |
//! | --- | --- |
//! | `kiln.format` | [`FORMAT_VERSION`] |
//! | `kiln.precision` | `f16` or `f32`: weights, input and output; `int8`: most weights and what they are multiplied by, the rest is `f32` |
//! | `kiln.latent_dim` | elements of the input `z` [N, latent_dim] |
//! | `kiln.latent_distribution` | `normal` |
//! | `kiln.image_shape` | `channels height width` of the output `image` [N, C, H, W] |
//! | `kiln.value_range` | `-1 1` |
//! | `kiln.classes` | number of classes, 0 when unconditional; else there is an input `class`, int64 \[N\] |
//! | `kiln.class_names` | all classes' names in order, one a line, of 1 to 100 characters, no control ones; may be missing |
//! | `kiln.image_in_shape` | `channels height width` of the input `image_in` [N, C, h, w], for generators that have one |
//! | `kiln.recipe`, `kiln.recipe_sha256` | what it was trained with, as TOML, and its hash; may be missing |
//! | `kiln.images_seen` | real images shown in training; may be missing |
//! | `kiln.data`, `kiln.data_sha256` | name and hash of the data; may be missing |
//! | `kiln.quality` | quality figures, free text; may be missing |
//! | `kiln.parity` | how near its images are to those in `f32`, free text; of `int8` files, others may lack it |
//! | `kiln.trainer` | program and version; may be missing |
//! | `kiln.graph_crc32c`, `kiln.weights_crc32c` | CRC-32C of the graph and of each weight: [`Checksums`]; may be missing |
//! | `kiln.self_test` | `seed=S index=I tolerance=T points=P:V,P:V,...` |
//! | `kiln.must.*` | reserved: whoever does not know such a key must not draw; there is none yet |
//!
//! Other keys that are not known are left alone. A later version that changes what is drawn without them gives its keys the
//! prefix `kiln.must.`, and one that changes what is above another format: both are refused by their name.

use crate::checksums::Checksums;
use crate::classes;
use crate::error::{ErrorKind, Fault};
use crate::graph::ElementType;
use crate::self_test::SelfTest;
use crate::text::shown;
use sha2::{Digest, Sha256};
use std::ffi::CStr;
use std::fmt;
use std::str::FromStr;

/// The version of the file format that this crate writes and reads.
pub const FORMAT_VERSION: u32 = 1;
/// Name of the input for latents, [N, latent_dim].
pub const INPUT_LATENT: &str = text(LATENT);
/// Name of the input for class labels, int64 \[N\], of conditional generators.
pub const INPUT_CLASS: &str = text(CLASS);
/// Name of the input for images, [N, C, h, w], of image-to-image generators.
pub const INPUT_IMAGE: &str = text(IMAGE_IN);
/// Name of the output, [N, C, H, W].
pub const OUTPUT_IMAGE: &str = text(IMAGE);
pub(crate) const LATENT: &CStr = c"z";
pub(crate) const CLASS: &CStr = c"class";
pub(crate) const IMAGE_IN: &CStr = c"image_in";
pub(crate) const IMAGE: &CStr = c"image";
/// Most elements of a latent.
pub const MAX_LATENT_DIM: usize = 4096;
/// Most channels of an image.
pub const MAX_CHANNELS: usize = 4;
/// Most pixels along a side of an image.
pub const MAX_SIDE: usize = 4096;
/// Most classes of a conditional generator.
pub const MAX_CLASSES: usize = 1 << 20;
const VALUE_RANGE: &str = "-1 1";
/// The key by which a file is one of Kiln's.
pub(crate) const FORMAT: &str = "kiln.format";
/// How keys begin that nobody may leave alone.
const MUST: &str = "kiln.must.";
const PARITY: &str = "kiln.parity";

const fn text(name: &CStr) -> &str {
    match name.to_str() {
        Ok(name) => name,
        Err(_) => panic!("the names above are ASCII"),
    }
}

/// What a generator's weights are, and its input and output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Precision {
    /// IEEE half precision.
    F16,
    /// IEEE single precision.
    F32,
    /// Weights of 7 bits and activations of 8 in the layers that take most of the time; the rest, input and output are
    /// [`Self::F32`]. For processors: several times as fast, to images that differ a little.
    Int8,
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F16 => "f16",
            Self::F32 => "f32",
            Self::Int8 => "int8",
        })
    }
}

/// The type of input and output.
impl From<Precision> for ElementType {
    fn from(precision: Precision) -> Self {
        match precision {
            Precision::F16 => Self::F16,
            Precision::F32 | Precision::Int8 => Self::F32,
        }
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f16" => Ok(Self::F16),
            "f32" => Ok(Self::F32),
            "int8" => Ok(Self::Int8),
            _ => Err(format!("{} is no precision, allowed are f16, f32 and int8", shown(text))),
        }
    }
}

/// The shape of one image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ImageShape {
    /// 1 for grey, 2 for grey and opacity (alpha), 3 for red, green, blue, 4 for these and opacity. Opacity is straight: the
    /// colours are not multiplied by it.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl ImageShape {
    /// Values in one image: channels x height x width.
    #[allow(clippy::len_without_is_empty)]
    pub fn len(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// Channels, height, width.
    pub(crate) fn sizes(&self) -> [usize; 3] {
        [self.channels, self.height, self.width]
    }
}

/// How latents are distributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum LatentDistribution {
    /// Independent standard normal numbers.
    Normal,
}

/// What a generator file says of itself. Where it was made is not known of every file: such texts are then empty.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct ModelInfo {
    /// What weights, input and output are.
    pub precision: Precision,
    /// Elements of a latent.
    pub latent_dim: usize,
    /// How latents are distributed.
    pub latent: LatentDistribution,
    /// Shape of an image.
    pub image: ImageShape,
    /// Shape of the image that goes in, for image-to-image generators.
    pub image_in: Option<ImageShape>,
    /// Number of classes; 0 when unconditional.
    pub classes: usize,
    /// Their names, one for each class; empty where they have none.
    pub class_names: Vec<String>,
    /// The recipe it was trained with, as TOML, if that is recorded.
    pub recipe: String,
    /// SHA-256 of that text, in hexadecimal digits, if that is recorded.
    pub recipe_sha256: String,
    /// Real images shown in training, if that is recorded.
    pub images_seen: Option<u64>,
    /// Name of the data, if that is recorded.
    pub data: String,
    /// SHA-256 of the data, in hexadecimal digits, if that is recorded.
    pub data_sha256: String,
    /// Quality figures, free text, if some are recorded.
    pub quality: String,
    /// How near its images are to those of the same generator in f32, free text; empty where nothing but rounding differs.
    pub parity: String,
    /// Program and version that wrote the file, if that is recorded.
    pub trainer: String,
    /// What opening replays.
    pub self_test: SelfTest,
    /// What opening compares the graph and the weights with, if the file has it.
    pub checksums: Option<Checksums>,
}

/// Metadata that is missing or cannot be.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct InfoError {
    /// The key.
    pub key: &'static str,
    /// What is wrong with it and what is allowed.
    pub what: String,
    /// What kind of error it is for the file that has it.
    pub kind: ErrorKind,
}

impl InfoError {
    /// Of a value that cannot be.
    pub(crate) fn new(key: &'static str, what: impl Into<String>) -> Self {
        Self { key, what: what.into(), kind: ErrorKind::Unsupported }
    }
}

impl fmt::Display for InfoError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "metadata `{}` {}", self.key, self.what)
    }
}

impl std::error::Error for InfoError {}

impl From<InfoError> for Fault {
    fn from(error: InfoError) -> Self {
        Self::new(error.kind, error.to_string())
    }
}

fn fail<T>(key: &'static str, what: impl Into<String>) -> Result<T, InfoError> {
    Err(InfoError::new(key, what))
}

/// Checks the version of a file's format.
fn check_format(found: Option<String>) -> Result<(), InfoError> {
    let of = |kind, what: String| Err(InfoError { kind, ..InfoError::new(FORMAT, what) });
    let Some(found) = found else {
        return of(ErrorKind::Foreign, format!("is missing; {AGAIN}"));
    };
    match found.parse() {
        Ok(FORMAT_VERSION) => Ok(()),
        Ok(later) if later > FORMAT_VERSION => {
            let what = format!("says that this file has format {later}; this version reads {FORMAT_VERSION}: {UPDATE}");
            of(ErrorKind::NewerFormat, what)
        }
        _ => fail(FORMAT, format!("is {}, this version reads {FORMAT_VERSION}", shown(&found))),
    }
}

/// Looks for keys that a later version must understand, of which this one knows none.
pub(crate) fn check_keys<'a>(keys: impl IntoIterator<Item = &'a str>) -> Result<(), Fault> {
    match keys.into_iter().find(|key| key.starts_with(MUST)) {
        None => Ok(()),
        Some(key) => {
            let what =
                format!("metadata {} must be understood to draw, and this version does not: {UPDATE}", shown(key));
            Err(Fault::new(ErrorKind::NewerFormat, what))
        }
    }
}

/// What to do about metadata that is missing.
const AGAIN: &str = "export the generator again with `trainer --export`";
/// What to do about a file that is newer than this crate.
const UPDATE: &str = concat!("update the program, which has runtime ", env!("CARGO_PKG_VERSION"));

impl ModelInfo {
    /// Of an unconditional generator from latents of `latent_dim` numbers to images of the shape `image`, of which nothing else
    /// is recorded.
    pub fn new(precision: Precision, latent_dim: usize, image: ImageShape, self_test: SelfTest) -> Self {
        Self {
            precision,
            latent_dim,
            latent: LatentDistribution::Normal,
            image,
            image_in: None,
            classes: 0,
            class_names: Vec::new(),
            recipe: String::new(),
            recipe_sha256: String::new(),
            images_seen: None,
            data: String::new(),
            data_sha256: String::new(),
            quality: String::new(),
            parity: String::new(),
            trainer: String::new(),
            self_test,
            checksums: None,
        }
    }

    /// The metadata, as keys and values in a fixed order, without what is not recorded.
    pub fn to_metadata(&self) -> Vec<(&'static str, String)> {
        let LatentDistribution::Normal = self.latent;
        let shape = |ImageShape { channels, height, width }| format!("{channels} {height} {width}");
        let image_in = self.image_in.map(|image| ("kiln.image_in_shape", shape(image)));
        let names = (!self.class_names.is_empty()).then(|| (classes::NAMES, self.class_names.join("\n")));
        let checksums = self.checksums.iter().flat_map(Checksums::to_metadata);
        let always = [
            (FORMAT, FORMAT_VERSION.to_string()),
            ("kiln.precision", self.precision.to_string()),
            ("kiln.latent_dim", self.latent_dim.to_string()),
            ("kiln.latent_distribution", "normal".to_owned()),
            ("kiln.image_shape", shape(self.image)),
            ("kiln.value_range", VALUE_RANGE.to_owned()),
            ("kiln.classes", self.classes.to_string()),
            ("kiln.self_test", self.self_test.to_string()),
        ];
        let origin = [
            ("kiln.recipe", self.recipe.clone()),
            ("kiln.recipe_sha256", self.recipe_sha256.clone()),
            ("kiln.images_seen", self.images_seen.map(|n| n.to_string()).unwrap_or_default()),
            ("kiln.data", self.data.clone()),
            ("kiln.data_sha256", self.data_sha256.clone()),
            ("kiln.quality", self.quality.clone()),
            (PARITY, self.parity.clone()),
            ("kiln.trainer", self.trainer.clone()),
        ];
        let recorded = origin.into_iter().filter(|(_, value)| !value.is_empty());
        always.into_iter().chain(recorded).chain(names).chain(image_in).chain(checksums).collect()
    }

    /// Reads what [`Self::to_metadata`] wrote; `get` looks a key up.
    ///
    /// # Errors
    /// A key that is missing, or a value that is not allowed.
    pub fn from_metadata(get: impl Fn(&str) -> Option<String>) -> Result<Self, InfoError> {
        let text = |key: &'static str| match get(key) {
            Some(value) => Ok(value),
            None => fail(key, format!("is missing; {AGAIN}")),
        };
        let number = |key: &'static str, least: usize, most: usize| {
            let value = text(key)?;
            match value.parse::<usize>() {
                Ok(n) if (least..=most).contains(&n) => Ok(n),
                _ => fail(key, format!("is {}, allowed is {least} to {most}", shown(&value))),
            }
        };
        let exactly = |key: &'static str, only: &str| match text(key)? {
            value if value == only => Ok(()),
            value => fail(key, format!("is {}, this version reads {only:?} only", shown(&value))),
        };
        check_format(get(FORMAT))?;
        exactly("kiln.latent_distribution", "normal")?;
        exactly("kiln.value_range", VALUE_RANGE)?;
        let shape = |key: &'static str, shape: String| {
            let sizes: Vec<usize> = shape.split(' ').map_while(|n| n.parse().ok()).collect();
            match sizes[..] {
                [channels @ 1..=MAX_CHANNELS, height @ 1..=MAX_SIDE, width @ 1..=MAX_SIDE]
                    if shape.split(' ').count() == 3 =>
                {
                    Ok(ImageShape { channels, height, width })
                }
                _ => {
                    let allowed = format!("1 to {MAX_CHANNELS} channels and 1 to {MAX_SIDE} pixels a side");
                    fail(key, format!("is {}, allowed are {allowed}", shown(&shape)))
                }
            }
        };
        let image = shape("kiln.image_shape", text("kiln.image_shape")?)?;
        let image_in = get("kiln.image_in_shape").map(|value| shape("kiln.image_in_shape", value)).transpose()?;
        let classes = number("kiln.classes", 0, MAX_CLASSES)?;
        let class_names = get(classes::NAMES).map_or(Ok(Vec::new()), |names| classes::read(&names, classes));
        let recorded = |key: &str| get(key).unwrap_or_default();
        let images_seen = match recorded("kiln.images_seen") {
            none if none.is_empty() => None,
            count => match count.parse() {
                Ok(count) => Some(count),
                Err(_) => return fail("kiln.images_seen", format!("is {}, no count", shown(&count))),
            },
        };
        let (recipe, recipe_sha256) = (recorded("kiln.recipe"), recorded("kiln.recipe_sha256"));
        if !recipe.is_empty() && !recipe_sha256.is_empty() && recipe_sha256 != sha256(&recipe) {
            let what = "is not the hash of kiln.recipe: one of them was changed";
            return Err(InfoError { kind: ErrorKind::Damaged, ..InfoError::new("kiln.recipe_sha256", what) });
        }
        Ok(Self {
            precision: text("kiln.precision")?.parse().or_else(|e: String| fail("kiln.precision", e))?,
            latent_dim: number("kiln.latent_dim", 1, MAX_LATENT_DIM)?,
            latent: LatentDistribution::Normal,
            image,
            image_in,
            classes,
            class_names: class_names.or_else(|e| fail(classes::NAMES, e))?,
            recipe,
            recipe_sha256,
            images_seen,
            data: recorded("kiln.data"),
            data_sha256: recorded("kiln.data_sha256"),
            quality: recorded("kiln.quality"),
            parity: recorded(PARITY),
            trainer: recorded("kiln.trainer"),
            self_test: SelfTest::parse(&text("kiln.self_test")?, image.len()).or_else(|e| fail("kiln.self_test", e))?,
            checksums: Checksums::from_metadata(get)?,
        })
    }
}

/// The SHA-256 of a text, in hexadecimal digits.
fn sha256(text: &str) -> String {
    Sha256::digest(text).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A description of a generator from latents of `latent` numbers to images [1, 1, `len`], in f32, for tests.
#[cfg(test)]
pub(crate) fn plain(latent: usize, len: usize) -> ModelInfo {
    let self_test = SelfTest { seed: 0, index: 0, tolerance: 2., points: Vec::new() };
    ModelInfo::new(Precision::F32, latent, ImageShape { channels: 1, height: 1, width: len }, self_test)
}

#[cfg(test)]
mod tests;
