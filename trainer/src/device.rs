//! Where training runs: the CPU, or an NVIDIA GPU where that works.

use crate::error::{Error, Result};
use candle_core::Device;

/// What was asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Choice {
    /// The first NVIDIA GPU where it works, else the CPU
    #[default]
    Auto,
    /// The CPU
    Cpu,
    /// The first NVIDIA GPU; an error where it does not work
    Cuda,
}

/// The device to train on, and why it is not a GPU if one was looked for.
///
/// # Errors
/// [`Error::Device`] where a GPU was asked for and does not work.
pub fn open(choice: Choice) -> Result<(Device, Option<String>)> {
    if choice == Choice::Cpu {
        return Ok((Device::Cpu, None));
    }
    match cuda() {
        Ok(device) => Ok((device, None)),
        Err(why) if choice == Choice::Auto => Ok((Device::Cpu, Some(why))),
        Err(why) => Err(Error::Device { why }),
    }
}

/// For messages: the CPU, or a CUDA GPU, and which.
pub fn name(device: &Device) -> String {
    match device.location() {
        candle_core::DeviceLocation::Cuda { gpu_id } => format!("CUDA GPU {gpu_id}"),
        _ => "the CPU".into(),
    }
}

/// The first GPU, if a kernel of ours compiles and runs on it and gives the right numbers.
#[cfg(feature = "cuda")]
fn cuda() -> std::result::Result<Device, String> {
    let device = Device::new_cuda(0).map_err(|e| match first_line(&e) {
        line if line.contains("CUDA_ERROR_NO_DEVICE") => {
            "no NVIDIA GPU, or no driver for it, was found; `nvidia-smi` tells what the system knows of".to_owned()
        }
        line => format!("the GPU cannot be used: {line}; {LIBRARIES}"),
    })?;
    let probe = || -> candle_core::Result<Vec<f32>> {
        crate::ops::Function::RELU.apply(&candle_core::Tensor::new(&[-1f32, 2.], &device)?)?.to_vec1()
    };
    match probe() {
        Ok(found) if found == [0., 2.] => Ok(device),
        Ok(found) => Err(format!("the GPU computes wrongly: the ReLU of -1 and 2 is {found:?}")),
        Err(e) => Err(format!("the GPU is there, but cannot run kernels: {}; {LIBRARIES}", first_line(&e))),
    }
}

/// What is missing most often.
#[cfg(feature = "cuda")]
const LIBRARIES: &str =
    "libcublas, libcurand and libnvrtc of the driver's CUDA version must be found (LD_LIBRARY_PATH)";

#[cfg(feature = "cuda")]
fn first_line(error: &candle_core::Error) -> String {
    error.to_string().lines().next().unwrap_or_default().to_owned()
}

#[cfg(not(feature = "cuda"))]
fn cuda() -> std::result::Result<Device, String> {
    Err("this trainer was built without CUDA; build it with --features cuda".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cpu_is_always_there_and_a_missing_gpu_is_told() -> Result<()> {
        assert!(matches!(open(Choice::Cpu)?, (Device::Cpu, None)));
        match open(Choice::Cuda) {
            Ok((device, None)) => assert!(device.is_cuda() && open(Choice::Auto)?.0.is_cuda()),
            Ok(other) => panic!("{other:?}"),
            Err(error) => {
                let (device, why) = open(Choice::Auto)?;
                let why = why.expect("a reason");
                assert!(device.is_cpu() && error.to_string().contains(&why) && !why.is_empty(), "{error}");
            }
        }
        Ok(())
    }
}
