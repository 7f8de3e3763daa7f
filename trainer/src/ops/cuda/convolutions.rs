//! Which library convolves: cuDNN where it is built in (feature `cudnn`) and works, else kernels of our own and cuBLAS.

use candle_core::cuda_backend::CudaDevice;
use candle_core::{Result, bail};
use std::sync::OnceLock;

/// Asks for one of the two, so that they can be compared; unset, cuDNN is taken where it can be had.
pub(super) const WISH: &str = "KILN_CONVOLUTIONS";

/// What convolves on a device.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Convolutions {
    /// Patches, multiplied by cuBLAS.
    Cublas,
    /// cuDNN, of this version.
    Cudnn(String),
}

impl std::fmt::Display for Convolutions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Cublas => write!(f, "cuBLAS"),
            Self::Cudnn(version) => write!(f, "cuDNN {version}"),
        }
    }
}

/// What convolves on this device, decided once a process.
///
/// # Errors
/// A wish that is none, or that cannot be met.
pub fn convolutions(device: &CudaDevice) -> Result<&'static Convolutions> {
    static DECIDED: OnceLock<std::result::Result<Convolutions, String>> = OnceLock::new();
    match DECIDED.get_or_init(|| decide(device, std::env::var(WISH).ok().as_deref())) {
        Ok(decided) => Ok(decided),
        Err(why) => bail!("{why}"),
    }
}

/// Of the operations that this thread has met, sizes and types told apart: how many cuDNN does, and how many there are.
/// What it does not do is done as without it.
///
/// # Errors
/// As [`convolutions`].
pub fn done_by_cudnn(device: &CudaDevice) -> Result<[usize; 2]> {
    match convolutions(device)? {
        #[cfg(feature = "cudnn")]
        Convolutions::Cudnn(_) => super::cudnn::met(device),
        _ => Ok([0, 0]),
    }
}

fn decide(device: &CudaDevice, wish: Option<&str>) -> std::result::Result<Convolutions, String> {
    match wish {
        None | Some("") => Ok(cudnn(device).unwrap_or(Convolutions::Cublas)),
        Some("cublas") => Ok(Convolutions::Cublas),
        Some("cudnn") => cudnn(device).map_err(|why| format!("{WISH} asks for cuDNN, {why}")),
        Some(other) => Err(format!("{WISH} is {other:?}, allowed are cublas and cudnn")),
    }
}

#[cfg(feature = "cudnn")]
fn cudnn(device: &CudaDevice) -> std::result::Result<Convolutions, String> {
    super::cudnn::version(device).map(Convolutions::Cudnn).map_err(|e| format!("which cannot be used: {e}"))
}

#[cfg(not(feature = "cudnn"))]
fn cudnn(_: &CudaDevice) -> std::result::Result<Convolutions, String> {
    Err("without which this program was built; build it with --features cudnn".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_are_met_or_refused() {
        let candle_core::Device::Cuda(device) = crate::ops::testing::device() else {
            println!("nothing to test: KILN_TEST_DEVICE is not cuda");
            return;
        };
        assert_eq!(decide(&device, Some("cublas")), Ok(Convolutions::Cublas));
        assert!(decide(&device, Some("cuDNN")).is_err_and(|why| why.contains("allowed are")));
        // Without a wish it is cuDNN exactly where that can be had.
        match decide(&device, Some("cudnn")) {
            Ok(found) => assert_eq!(decide(&device, None), Ok(found)),
            Err(why) => {
                println!("{why}");
                assert_eq!(decide(&device, None), Ok(Convolutions::Cublas));
            }
        }
    }
}
