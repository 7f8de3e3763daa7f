//! The generator as a file: layers -> graph -> ONNX, or safetensors, checked before it gets its name.

mod graph;
mod verify;

use crate::error::{Error, Result};
use crate::files;
use crate::graph::Network;
use crate::onnx::dtype;
use candle_core::{DType, Device, Tensor};
use runtime::{ImageShape, LatentDistribution, ModelInfo, Precision, SelfTest};
use std::path::{Path, PathBuf};

/// Values of the self-test's sample that the file records.
const SELF_TEST_POINTS: usize = 16;

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
    /// Another ending, or a folder that does not exist: said before hours of training, not after.
    pub fn of(path: &Path) -> Result<Self> {
        let fail = |what: String| Err(Error::Export { path: path.to_owned(), what });
        let folder = files::folder_of(path);
        if !folder.is_dir() {
            return fail(format!("the folder {} does not exist", folder.display()));
        }
        match path.extension().and_then(|e| e.to_str()) {
            Some("onnx") => Ok(Self::Onnx),
            Some("safetensors") => Ok(Self::Safetensors),
            _ => fail("the name must end in .onnx or .safetensors".into()),
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
#[derive(Clone, Debug)]
pub struct Origin {
    /// The recipe, as TOML.
    pub recipe: String,
    /// Real images shown in training.
    pub images_seen: u64,
    /// The data's name.
    pub data: String,
    /// The data's hash.
    pub data_sha256: String,
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

/// Writes `network`, a generator without batch normalisation ([`Network::frozen`]), to every one of `paths`, and
/// beside each ONNX file its weights, if that is where they are to be.
///
/// # Errors
/// Names that are no export, layers that ONNX cannot have, a file that ONNX Runtime does not run to the same images.
pub fn export(
    network: &Network,
    image: ImageShape,
    latent: usize,
    precision: Precision,
    origin: &Origin,
    weights: Weights,
    paths: &[PathBuf],
) -> Result<Vec<Exported>> {
    let network = network.rounded(precision)?;
    let info = describe(&network, image, latent, precision, origin)?;
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
        if weights == Weights::Beside {
            let beside = path.with_extension("safetensors");
            let name = beside.file_name().and_then(|name| name.to_str());
            let name = name.ok_or_else(|| refused(path, "its name is not UTF-8, which external weights need"))?;
            let bytes = tensors(&emitted, info)?;
            emitted.refer(name, &bytes)?;
            written.push(put(&beside, &bytes)?);
        }
        let mut onnx = put(path, &emitted.encode())?;
        onnx.parity = Some(verify::parity(&place(path), network, info).map_err(|e| refused(path, e))?);
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
    Error::Export { path: path.to_owned(), what: format!("the file was not kept: {error}") }
}

impl Network {
    /// The network with its weights rounded to `precision` but still computed with in f32, as ONNX Runtime does on a CPU.
    fn rounded(&self, precision: Precision) -> candle_core::Result<Self> {
        self.map(|_, t| t.to_dtype(dtype(precision))?.to_dtype(DType::F32))
    }
}

/// The samples of `count` images from `first` on, as `runtime` numbers and lays them out, computed by candle.
fn samples(
    network: &Network,
    latent: usize,
    precision: Precision,
    seed: u64,
    first: u64,
    count: usize,
) -> Result<Vec<f32>> {
    let mut z = vec![0f32; count * latent];
    for (z, index) in z.chunks_exact_mut(latent).zip(first..) {
        runtime::fill_latent(seed, index, z);
    }
    let z = Tensor::from_vec(z, (count, latent), &Device::Cpu)?.to_dtype(dtype(precision))?.to_dtype(DType::F32)?;
    Ok(network.forward(&[&z])?.permute((0, 3, 1, 2))?.flatten_all()?.to_vec1()?)
}

/// The description that goes into the file, with a self-test computed by candle.
fn describe(
    network: &Network,
    image: ImageShape,
    latent: usize,
    precision: Precision,
    origin: &Origin,
) -> Result<ModelInfo> {
    let sample = samples(network, latent, precision, 0, 0, 1)?;
    let count = SELF_TEST_POINTS.min(sample.len());
    // Spread evenly over the image, away from its uniform edges.
    let points = (0..count).map(|i| (2 * i + 1) * sample.len() / (2 * count)).map(|at| (at, sample[at]));
    Ok(ModelInfo {
        precision,
        latent_dim: latent,
        latent: LatentDistribution::Normal,
        image,
        image_in: None,
        classes: 0,
        recipe: origin.recipe.clone(),
        recipe_sha256: files::sha256(origin.recipe.as_bytes()),
        images_seen: origin.images_seen,
        data: origin.data.clone(),
        data_sha256: origin.data_sha256.clone(),
        quality: String::new(),
        trainer: concat!("trainer ", env!("CARGO_PKG_VERSION")).to_owned(),
        self_test: SelfTest { seed: 0, index: 0, tolerance: verify::tolerance(precision), points: points.collect() },
    })
}
