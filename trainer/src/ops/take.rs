//! The images of a batch, taken from a data set that lies on the device.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
use runtime::ImageShape;
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

/// Images number `index` of `all`: `all` [N, C, H, W] in bytes from 0 to 255, `index` `[n]` in `u32` -> [n, H, W, C] in
/// [-1, 1].
///
/// # Errors
/// Other types and shapes; on the CPU, numbers past the end (a GPU is not waited for to find out).
pub fn take_images(all: &Tensor, index: &Tensor, shape: ImageShape) -> Result<Tensor> {
    let ImageShape { channels, height, width } = shape;
    match (all.dims(), index.dims(), all.dtype(), index.dtype()) {
        ([_, c, h, w], [_], DType::U8, DType::U32) if [*c, *h, *w] == [channels, height, width] => {
            all.apply_op2_no_bwd(index, &TakeImages { shape })
        }
        _ => bail!("take-images: {all:?} and {index:?} do not fit images of {shape:?}"),
    }
}

struct TakeImages {
    shape: ImageShape,
}

impl CustomOp2 for TakeImages {
    fn name(&self) -> &'static str {
        "take-images"
    }

    fn cpu_fwd(&self, all: &CpuStorage, al: &Layout, index: &CpuStorage, il: &Layout) -> Result<(CpuStorage, Shape)> {
        let (Some((from, to)), Some((first, last))) = (al.contiguous_offsets(), il.contiguous_offsets()) else {
            bail!("take-images: takes contiguous tensors")
        };
        let (all, index) = (&all.as_slice::<u8>()?[from..to], &index.as_slice::<u32>()?[first..last]);
        let images = index.iter().map(|&i| all.chunks_exact(self.shape.len()).nth(i as usize));
        let Some(images) = images.collect::<Option<Vec<_>>>() else {
            bail!("take-images: a number is past the end of {} images", all.len() / self.shape.len())
        };
        let ImageShape { channels, height, width } = self.shape;
        let values = images.iter().flat_map(|image| {
            let at = move |i: usize| image[i % channels * height * width + i / channels];
            (0..image.len()).map(move |i| f32::from(at(i)) / 127.5 - 1.)
        });
        Ok((CpuStorage::F32(values.collect()), (index.len(), height, width, channels).into()))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        all: &CudaStorage,
        al: &Layout,
        index: &CudaStorage,
        il: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        cuda::take_images(self.shape, (all, al), (index, il))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::ops::testing::{assert_close, device};

    #[test]
    fn images_are_those_that_batches_are_made_of() -> Result<()> {
        let shape = ImageShape { channels: 3, height: 2, width: 5 };
        let pixels: Vec<u8> = (0..4 * shape.len()).map(|i| (i * 37 % 256) as u8).collect();
        let all = Tensor::from_slice(&pixels, (4, 3, 2, 5), &device())?;
        let index = Tensor::new(&[3u32, 0, 3], &device())?;
        let images = [3, 0, 3].map(|i| &pixels[i * shape.len()..][..shape.len()]);
        assert_close(&take_images(&all, &index, shape)?, &data::tensor(images, shape)?, 1e-6);
        assert!(take_images(&index, &all, shape).is_err());
        if device().is_cpu() {
            assert!(take_images(&all, &Tensor::new(&[4u32], &device())?, shape).is_err());
        }
        Ok(())
    }
}
