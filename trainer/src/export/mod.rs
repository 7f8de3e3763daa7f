//! The generator as a file: layers -> graph -> ONNX, or safetensors, checked before it gets its name.

mod graph;
mod verify;

use crate::data::latents_of;
use crate::error::{Error, Result};
use crate::files;
use crate::graph::{Content, Network, Value};
use crate::onnx::dtype;
use candle_core::{DType, Device, Tensor};
use runtime::{Checksums, INPUT_CLASS, INPUT_IMAGE, INPUT_LATENT, ImageShape, ModelInfo, Precision, SelfTest};
use std::collections::HashSet;
use std::path::{Path, PathBuf};

/// Values of the self-test's sample that the file records.
const SELF_TEST_POINTS: usize = 64;
/// Samples over which values are compared to choose them, if they do not take more bytes than this.
const SELF_TEST_SAMPLES: usize = 32;
const SELF_TEST_BYTES: u64 = 256 << 20;

/// The kinds of file, by the ending of their name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A complete model for `runtime` and every other user of ONNX.
    Onnx,
    /// The weights under their stable names, and the same metadata.
    Safetensors,
}

impl Format {
    /// The format that the ending of `path` stands for.
    ///
    /// # Errors
    /// Another ending.
    pub fn of(path: &Path) -> Result<Self> {
        match path.extension().and_then(|e| e.to_str()) {
            Some("onnx") => Ok(Self::Onnx),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => Err(refused(path, "the name must end in .onnx or .safetensors")),
        }
    }
}

/// Where the weights of an ONNX file are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Weights {
    /// In the file.
    #[default]
    Inside,
    /// In a safetensors file of the same name beside it, to which the ONNX file refers.
    Beside,
}

/// What a file says of where it comes from.
#[derive(Clone, Debug, Default)]
pub struct Origin {
    /// The recipe, as TOML.
    pub recipe: String,
    /// Real images shown in training.
    pub images_seen: u64,
    /// The data's name.
    pub data: String,
    /// The data's hash.
    pub data_sha256: String,
    /// What an evaluation of the generator has found; empty where there was none.
    pub quality: String,
    /// What the classes are called, for a generator that has classes; empty where the data does not say it.
    pub class_names: Vec<String>,
}

/// What was written.
#[derive(Clone, Debug)]
pub struct Exported {
    /// The file.
    pub path: PathBuf,
    /// Its size in bytes.
    pub bytes: usize,
    /// The largest difference between ONNX Runtime's samples of the file and candle's, in units of the value range
    /// [-1, 1]; `None` where the format is not one that ONNX Runtime runs.
    pub parity: Option<f32>,
}

/// Whether all of `paths` can be written: asked before hours of training, not after.
///
/// # Errors
/// Other endings; a folder that is not there or cannot be written to; a name that belongs to something other than a regular
/// file, or that an ONNX file cannot refer to; a file that two exports would write.
pub fn check(paths: &[PathBuf], weights: Weights) -> Result<()> {
    let mut taken = HashSet::new();
    for path in paths {
        for file in files_of(path, weights)? {
            let folder = files::folder_of(&file);
            if !folder.is_dir() {
                return Err(refused(path, format_args!("the folder {} does not exist", folder.display())));
            }
            if let Ok(found) = std::fs::metadata(&file)
                && !found.is_file()
            {
                let kind = files::kind(found.file_type());
                return Err(refused(path, format_args!("{} is {kind}; give the name of a file", file.display())));
            }
            files::probe(&file)?;
            let place = folder.canonicalize().map_err(Error::io("find", &folder))?;
            if !taken.insert(place.join(file.file_name().unwrap_or_default())) {
                let what = format_args!("two exports would write {}; give them different names", file.display());
                return Err(refused(path, what));
            }
        }
    }
    Ok(())
}

/// The files of an export: of an ONNX file with its weights beside it, the weights first.
fn files_of(path: &Path, weights: Weights) -> Result<Vec<PathBuf>> {
    let mut files = vec![path.to_owned()];
    if (Format::of(path)?, weights) == (Format::Onnx, Weights::Beside) {
        let beside = path.with_extension("safetensors");
        if beside.file_name().and_then(|name| name.to_str()).is_none() {
            return Err(refused(path, "its name is not UTF-8, which external weights need"));
        }
        files.insert(0, beside);
    }
    Ok(files)
}

/// Writes `network`, a generator without batch normalisation ([`Network::frozen`]), to every one of `paths`, and
/// beside each ONNX file its weights, if that is where they are to be.
///
/// # Errors
/// Weights that are not finite, or not in `precision`; what [`check`] refuses, layers that ONNX cannot have, a file that
/// ONNX Runtime does not run to the same images.
pub fn export(
    network: &Network,
    precision: Precision,
    origin: &Origin,
    weights: Weights,
    paths: &[PathBuf],
) -> Result<Vec<Exported>> {
    check(paths, weights)?;
    if let (Some(path), Some(what)) = (paths.first(), beyond(network, precision)?) {
        return Err(refused(path, what));
    }
    let network = network.with_straight_alpha()?.rounded(precision)?;
    let mut info = describe(&network, precision, origin)?;
    let whole = graph::emit(&network, &info)?.encode();
    info.checksums = Some(Checksums::of(&whole).map_err(candle_core::Error::msg)?);
    let mut written: Vec<Exported> = Vec::new();
    for path in paths {
        written.extend(write(&network, &info, weights, path)?);
    }
    Ok(written)
}

fn write(network: &Network, info: &ModelInfo, weights: Weights, path: &Path) -> Result<Vec<Exported>> {
    // Under their own names, in a folder of their own: the files that are checked are the ones that are kept.
    let unfinished = files::sibling_folder(path)?;
    let place = |path: &Path| unfinished.path().join(path.file_name().unwrap_or_default());
    let put = |path: &Path, bytes: &[u8]| -> Result<Exported> {
        files::write_atomically(&place(path), bytes)?;
        Ok(Exported { path: path.to_owned(), bytes: bytes.len(), parity: None })
    };
    let mut written = Vec::new();
    let mut emitted = graph::emit(network, info)?;
    if Format::of(path)? == Format::Safetensors {
        written.push(put(path, &tensors(&emitted, info)?)?);
    } else {
        if let [beside, _] = &files_of(path, weights)?[..] {
            let bytes = tensors(&emitted, info)?;
            emitted.refer(&beside.file_name().unwrap_or_default().to_string_lossy(), &bytes)?;
            written.push(put(beside, &bytes)?);
        }
        let mut onnx = put(path, &emitted.encode())?;
        onnx.parity = Some(
            verify::parity(&place(path), network, info)
                .map_err(|e| refused(path, format_args!("the file was not kept: {e}")))?,
        );
        written.push(onnx);
    }
    // The model last: it refers to what is there then.
    for file in &written {
        files::rename(&place(&file.path), &file.path)?;
    }
    Ok(written)
}

/// The bytes of the safetensors file.
fn tensors(emitted: &graph::Emitted, info: &ModelInfo) -> Result<Vec<u8>> {
    let metadata = info.to_metadata().into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    Ok(files::safetensors_bytes(emitted.weights.iter().map(|(name, t)| (name.clone(), t)), metadata)?)
}

fn refused(path: &Path, error: impl std::fmt::Display) -> Error {
    Error::Export { path: path.to_owned(), what: error.to_string() }
}

/// Of the weights that a file of this precision cannot hold the first: its name, and what to do.
fn beyond(network: &Network, precision: Precision) -> candle_core::Result<Option<String>> {
    for (parameter, tensor) in network.parameters() {
        let count = |t: &Tensor| -> candle_core::Result<usize> {
            let values = t.to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
            Ok(values.iter().filter(|value| !value.is_finite()).count())
        };
        let name = &parameter.name;
        let lost = count(tensor)?;
        if lost > 0 {
            let what = "it has diverged, export an earlier checkpoint or train again with lower learning rates";
            return Ok(Some(format!("the generator's {name} holds {lost} numbers that are not finite: {what}")));
        }
        let lost = count(&tensor.to_dtype(dtype(precision))?)?;
        if lost > 0 {
            let what = format!("{lost} numbers beyond {}, the largest of {precision}", half::f16::MAX);
            return Ok(Some(format!("the generator's {name} holds {what}: export with --precision f32")));
        }
    }
    Ok(None)
}

impl Network {
    /// The network with its weights rounded to `precision` but still computed with in f32, as ONNX Runtime does on a CPU.
    fn rounded(&self, precision: Precision) -> candle_core::Result<Self> {
        self.map(|_, t| t.to_dtype(dtype(precision))?.to_dtype(DType::F32))
    }
}

/// What a generator is given, by the names that the file's format has for it.
struct Ports {
    latent: usize,
    classes: usize,
    image_in: Option<ImageShape>,
}

impl Ports {
    fn of(network: &Network) -> candle_core::Result<Self> {
        let graph = network.graph();
        let mut found = Self { latent: 0, classes: 0, image_in: None };
        for (i, port) in graph.inputs().iter().enumerate() {
            match (port.name.as_str(), port.content, graph.shape(Value::Input(i))) {
                (INPUT_LATENT, Content::Numbers, &[latent]) => found.latent = latent,
                (INPUT_CLASS, Content::Class(classes), _) => found.classes = classes,
                (INPUT_IMAGE, Content::Numbers, shape) => found.image_in = Some(image_of(shape)?),
                (name, ..) => candle_core::bail!("generator files have no input {name}: {port:?}"),
            }
        }
        Ok(found)
    }
}

/// The shape [H, W, C] of an image.
fn image_of(shape: &[usize]) -> candle_core::Result<ImageShape> {
    match *shape {
        [height, width, channels] => Ok(ImageShape { channels, height, width }),
        _ => candle_core::bail!("samples of shape {shape:?} are no images of [H, W, C]"),
    }
}

/// What samples are drawn from beside their seed.
struct Given<'a> {
    /// Of all samples.
    class: u32,
    /// The image to begin with, [C, H, W]; none where the generator takes none.
    image: &'a [f32],
}

/// The samples of `count` images from `first` on, as `runtime` numbers and lays them out, computed by candle.
fn samples(network: &Network, info: &ModelInfo, first: u64, count: usize, given: &Given<'_>) -> Result<Vec<f32>> {
    let device = &Device::Cpu;
    let rounded = |t: Tensor| t.to_dtype(dtype(info.precision))?.to_dtype(DType::F32);
    let mut inputs = Vec::new();
    for port in network.graph().inputs() {
        inputs.push(match (port.content, port.name.as_str(), info.image_in) {
            (Content::Class(_), ..) => Tensor::full(given.class, count, device)?,
            (_, INPUT_IMAGE, Some(shape)) => {
                let ImageShape { channels, height, width } = shape;
                let one = Tensor::new(given.image, device)?.reshape((1, channels, height, width))?;
                rounded(one.permute((0, 2, 3, 1))?.repeat((count, 1, 1, 1))?)?
            }
            _ => rounded(latents_of(info.self_test.seed, first, count, info.latent_dim)?)?,
        });
    }
    let images = network.forward(&inputs.iter().collect::<Vec<_>>())?;
    Ok(images.permute((0, 3, 1, 2))?.flatten_all()?.to_vec1()?)
}

/// The description that goes into the file, with a self-test computed by candle.
fn describe(network: &Network, precision: Precision, origin: &Origin) -> Result<ModelInfo> {
    let Ports { latent, classes, image_in } = Ports::of(network)?;
    let self_test = SelfTest { seed: 0, index: 0, tolerance: verify::tolerance(precision), points: Vec::new() };
    let mut info = ModelInfo::new(precision, latent, image_of(network.output_shape())?, self_test);
    info.image_in = image_in;
    info.classes = classes;
    info.class_names = if classes > 0 { origin.class_names.clone() } else { Vec::new() };
    info.recipe = origin.recipe.clone();
    info.recipe_sha256 = files::sha256(origin.recipe.as_bytes());
    info.images_seen = Some(origin.images_seen);
    info.data = origin.data.clone();
    info.data_sha256 = origin.data_sha256.clone();
    info.quality = origin.quality.clone();
    info.trainer = concat!("trainer ", env!("CARGO_PKG_VERSION")).to_owned();
    // As the runtime's self-test has it: the first class, a grey image.
    let grey = vec![0f32; image_in.map_or(0, |image| image.len())];
    let given = Given { class: 0, image: &grey };
    // Several at a time where they are small.
    let count = network.graph().samples_within(SELF_TEST_BYTES, SELF_TEST_SAMPLES).max(2);
    let images = samples(network, &info, 0, count, &given)?;
    info.self_test.points = telling(&images, info.image).into_iter().map(|at| (at, images[at])).collect();
    Ok(info)
}

/// Whether the last channel of such an image is alpha.
fn has_alpha(image: ImageShape) -> bool {
    image.channels.is_multiple_of(2)
}

/// Positions, evenly among the quarter whose values vary most over `images` [N, C, H, W] of the shape `image`: what is the same
/// in all, such as a background, tells nothing of the weights, and colours of what can hardly be seen in the first image too
/// much of rounding.
fn telling(images: &[f32], image: ImageShape) -> Vec<usize> {
    let (len, pixels) = (image.len(), image.height * image.width);
    let count = images.len() / len;
    let alpha = len - pixels;
    let variance = |at: usize| {
        if has_alpha(image) && at < alpha && images[alpha + at % pixels] < 0. {
            return 0.;
        }
        let values = || (0..count).map(|i| f64::from(images[i * len + at]));
        let mean = values().sum::<f64>() / count as f64;
        values().map(|x| (x - mean).powi(2)).sum::<f64>()
    };
    let points = SELF_TEST_POINTS.min(len);
    let variances: Vec<f64> = (0..len).map(variance).collect();
    let mut varied: Vec<usize> = (0..len).collect();
    varied.sort_by(|&a, &b| variances[b].total_cmp(&variances[a]));
    varied.truncate((len / 4).max(points));
    varied.sort_unstable();
    (0..points).map(|i| varied[i * varied.len() / points]).collect()
}

#[cfg(test)]
mod tests;
