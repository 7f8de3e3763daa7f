//! Generator files to measure with: the digits of the zoo, and larger DCGANs with random weights, made and exported by the
//! trainer's own library. Times depend on the sizes of weights, not on what they have learned.

use candle_core::{Result as TensorResult, Tensor, bail};
use runtime::{ImageShape, Precision};
use std::path::{Path, PathBuf};
use trainer::export::{self, Origin};
use trainer::graph::{Network, Parameter};
use trainer::net::{Init, dcgan};
use trainer::{Error, Result};

const LATENT: usize = 100;
const WIDTH: usize = 64;
const CHANNELS: usize = 3;
/// Latents from which the batch statistics are taken.
const STATISTICS_LATENTS: usize = 64;
/// Standard deviation of the scales and shifts of batch normalisation, that of a trained network's rather than that of the
/// initial weights: with the latter every image would be the same grey.
const SPREAD: f32 = 0.3;
const SEED: u64 = 1;

/// A generator that can be written in both precisions.
pub struct Source {
    /// The beginning of its files' names.
    pub name: String,
    network: Network,
}

impl Source {
    /// The DCGAN of width 64 that makes 3 x `side` x `side` from 100 numbers, batch normalisation folded.
    ///
    /// # Errors
    /// A side that is not a power of two, 8 or more.
    pub fn dcgan(side: usize) -> Result<Self> {
        if side < 8 || !side.is_power_of_two() {
            return Err(candle_core::Error::msg(format!("the side is {side}, allowed are powers of two from 8")).into());
        }
        let image = ImageShape { channels: CHANNELS, height: side, width: side };
        let init = &mut Init::new(SEED);
        let network = dcgan::generator(&dcgan::Generator::new(LATENT, WIDTH), image, init)?;
        let network = network.map(|parameter, t| scaled(parameter, t, init))?;
        let statistics = network.batch_statistics(&[&init.normal(&[STATISTICS_LATENTS, LATENT], 0., 1.)?])?;
        Ok(Self { name: format!("dcgan-{side}"), network: network.frozen(&statistics)? })
    }

    /// The digits of the zoo, read from their safetensors file: what its f16 weights say, which a file of f32 holds, too.
    ///
    /// # Errors
    /// A file that is not there, or does not hold the network that the zoo's recipe describes.
    pub fn digits() -> Result<Self> {
        const RECIPE: dcgan::Generator = dcgan::Generator::new(64, 32);
        let image = ImageShape { channels: 1, height: 28, width: 28 };
        let init = &mut Init::new(SEED);
        let network = dcgan::generator(&RECIPE, image, init)?;
        let statistics = network.batch_statistics(&[&init.normal(&[2, RECIPE.latent], 0., 1.)?])?;
        let network = network.frozen(&statistics)?;
        let tensors = candle_core::safetensors::load(zoo("digits/gen.safetensors"), &candle_core::Device::Cpu)?;
        let network = network.map(|Parameter { name, .. }, t| {
            let Some(found) = tensors.get(name) else { bail!("the zoo's digits have no tensor {name}") };
            channels_last(&found.to_dtype(t.dtype())?, t)
        })?;
        Ok(Self { name: "digits".to_owned(), network })
    }

    /// Writes the file `NAME-PRECISION.onnx` to `folder`, which it makes; the same bytes each time on the same machine.
    ///
    /// # Errors
    /// A folder that cannot be written to, no ONNX Runtime to check the file with.
    pub fn write(&self, precision: Precision, folder: &Path) -> Result<PathBuf> {
        let path = folder.join(format!("{}-{precision}.onnx", self.name));
        std::fs::create_dir_all(folder).map_err(|source| Error::Io {
            action: "make the folder",
            path: folder.to_owned(),
            source,
        })?;
        let origin = Origin {
            recipe: String::new(),
            images_seen: 0,
            data: "none: a generator to measure with".to_owned(),
            data_sha256: String::new(),
            quality: String::new(),
            class_names: Vec::new(),
        };
        export::export(&self.network, precision, &origin, export::Weights::Inside, std::slice::from_ref(&path))?;
        Ok(path)
    }
}

/// A file of the zoo.
pub fn zoo(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../models").join(path)
}

/// A parameter, with scales and shifts that differ from channel to channel if it is a batch normalisation's.
fn scaled(Parameter { name, .. }: &Parameter, t: &Tensor, init: &mut Init) -> TensorResult<Tensor> {
    match name.rsplit('.').next() {
        Some("gamma") => init.normal(t.dims(), 1., SPREAD),
        Some("beta") => init.normal(t.dims(), 0., SPREAD),
        _ => Ok(t.clone()),
    }
}

/// The exported tensor `t` as the trainer has it, in the shape of `like`.
fn channels_last(t: &Tensor, like: &Tensor) -> TensorResult<Tensor> {
    /// Positions of the image that the linear layer makes.
    const POSITIONS: usize = 7 * 7;
    // Of a dense layer the file has the inputs first, as MatMul takes them.
    let t = &if t.rank() == 2 { t.t()? } else { t.clone() };
    let turned = match t.rank() {
        4 => t.permute((0, 2, 3, 1))?.contiguous()?,
        // The linear layer's outputs, weights and biases: [C, H, W, ...] in the file.
        _ if t.dim(0)? % POSITIONS == 0 => {
            t.reshape((t.dim(0)? / POSITIONS, POSITIONS, ()))?.transpose(0, 1)?.contiguous()?.reshape(t.shape())?
        }
        _ => t.clone(),
    };
    if turned.dims() != like.dims() {
        bail!("the zoo's digits have a tensor of shape {:?} where the recipe has {:?}", t.dims(), like.dims())
    }
    Ok(turned)
}
