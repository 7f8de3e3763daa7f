//! The images of a batch, taken from a data set that lies on the device.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

/// Images number `index` of `all`: `all` [N, H, W, C] in bytes from 0 to 255, `index` `[n]` in `u32` -> [n, H, W, C] in
/// [-1, 1].
///
/// # Errors
/// Other types and shapes; on the CPU, numbers past the end (a GPU is not waited for to find out).
pub fn take_images(all: &Tensor, index: &Tensor) -> Result<Tensor> {
    match (all.rank(), index.rank(), all.dtype(), index.dtype()) {
        (4, 1, DType::U8, DType::U32) => all.apply_op2_no_bwd(index, &TakeImages),
        _ => bail!("take-images: {all:?} and {index:?} are no images and numbers"),
    }
}

struct TakeImages;

impl CustomOp2 for TakeImages {
    fn name(&self) -> &'static str {
        "take-images"
    }

    fn cpu_fwd(&self, all: &CpuStorage, al: &Layout, index: &CpuStorage, il: &Layout) -> Result<(CpuStorage, Shape)> {
        let (Some((from, to)), Some((first, last))) = (al.contiguous_offsets(), il.contiguous_offsets()) else {
            bail!("take-images: takes contiguous tensors")
        };
        let (all, index) = (&all.as_slice::<u8>()?[from..to], &index.as_slice::<u32>()?[first..last]);
        let (count, height, width, channels) = al.shape().dims4()?;
        let size = height * width * channels;
        let mut values = Vec::with_capacity(index.len() * size);
        for &i in index {
            let Some(image) = all.chunks_exact(size.max(1)).nth(i as usize) else {
                bail!("take-images: number {i} is past the end of {count} images")
            };
            values.extend(image.iter().map(|&v| f32::from(v) / 127.5 - 1.));
        }
        Ok((CpuStorage::F32(values), (index.len(), height, width, channels).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        all: &CudaStorage,
        al: &Layout,
        index: &CudaStorage,
        il: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::take_images((all, al), (index, il))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::ops::testing::{assert_close, device};
    use runtime::ImageShape;

    #[test]
    fn images_are_those_that_batches_are_made_of() -> Result<()> {
        let shape = ImageShape { channels: 3, height: 2, width: 5 };
        let pixels: Vec<u8> = (0..4 * shape.len()).map(|i| (i * 37 % 256) as u8).collect();
        let all = Tensor::from_slice(&pixels, (4, 2, 5, 3), &device())?;
        let index = Tensor::new(&[3u32, 0, 3], &device())?;
        let images = [3, 0, 3].map(|i| &pixels[i * shape.len()..][..shape.len()]).concat();
        assert_close(&take_images(&all, &index)?, &data::tensor(&images, shape)?, 1e-6);
        assert!(take_images(&index, &all).is_err());
        if device().is_cpu() {
            assert!(take_images(&all, &Tensor::new(&[4u32], &device())?).is_err());
        }
        Ok(())
    }
}
