//! The images of a batch, taken from a data set that lies on the device.

use candle_core::{CpuStorage, CustomOp2, DType, Layout, Result, Shape, Tensor, bail};
#[cfg(feature = "cuda")]
use {super::cuda, candle_core::CudaStorage};

/// Added to the number of an image, which is then taken mirrored.
pub const MIRRORED: u32 = 1 << 31;

/// Images number `index` of `all`: `all` [N, H, W, C] in bytes from 0 to 255, `index` `[n]` in `u32`, plain or with
/// [`MIRRORED`] -> [n, H, W, C] in [-1, 1]. Where the last of 2 or 4 channels is alpha, colours are multiplied by it.
///
/// # Errors
/// Other types and shapes; on the CPU, numbers past the end (a GPU is not waited for to find out).
pub fn take_images(all: &Tensor, index: &Tensor) -> Result<Tensor> {
    match (all.rank(), index.rank(), all.dtype(), index.dtype()) {
        (4, 1, DType::U8, DType::U32) => all.apply_op2_no_bwd(index, &TakeImages),
        _ => bail!("take-images: {all:?} and {index:?} are no images and numbers"),
    }
}

/// The values in [-1, 1] of a pixel of 1 (grey), 2 (grey, alpha), 3 (red, green, blue) or 4 (the same, alpha) bytes, colours
/// multiplied by alpha: what lies under alpha 0 is not seen.
#[inline(always)]
pub fn values_of(pixel: &[u8]) -> impl Iterator<Item = f32> {
    let alpha = match pixel {
        [.., alpha] if pixel.len().is_multiple_of(2) => f32::from(*alpha) / 255.,
        _ => 1.,
    };
    let last = pixel.len() - 1;
    pixel.iter().enumerate().map(move |(c, &v)| {
        let value = f32::from(v);
        (if c < last { value * alpha } else { value }) / 127.5 - 1.
    })
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
            let (number, mirrored) = (i & !MIRRORED, i & MIRRORED != 0);
            let Some(image) = all.chunks_exact(size.max(1)).nth(number as usize) else {
                bail!("take-images: number {number} is past the end of {count} images")
            };
            for row in image.chunks_exact(width * channels) {
                let pixel = |x: usize| &row[if mirrored { width - 1 - x } else { x } * channels..][..channels];
                (0..width).for_each(|x| values.extend(values_of(pixel(x))));
            }
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
        let mirrored = take_images(&all, &Tensor::new(&[3 + MIRRORED], &device())?)?;
        let columns = Tensor::new(&[4u32, 3, 2, 1, 0], &device())?;
        assert_close(
            &mirrored.index_select(&columns, 2)?,
            &take_images(&all, &Tensor::new(&[3u32], &device())?)?,
            1e-6,
        );
        assert!(take_images(&index, &all).is_err());
        if device().is_cpu() {
            assert!(take_images(&all, &Tensor::new(&[4u32], &device())?).is_err());
        }
        Ok(())
    }

    #[test]
    fn colours_are_multiplied_by_alpha() -> Result<()> {
        let pixels: [u8; 8] = [255, 100, 0, 51, 255, 17, 99, 0];
        let all = Tensor::from_slice(&pixels, (1, 1, 2, 4), &device())?;
        let found = take_images(&all, &Tensor::new(&[0u32], &device())?)?;
        // 51 is a fifth: 255, 100 and 0 become 51, 20 and 0. Under alpha 0 all is 0.
        let expected: Vec<f32> = [51., 20., 0., 51., 0., 0., 0., 0.].map(|v: f32| v / 127.5 - 1.).into();
        assert_close(&found, &Tensor::new(expected, &device())?.reshape((1, 1, 2, 4))?, 1e-6);
        let grey = Tensor::from_slice(&pixels, (1, 2, 2, 2), &device())?;
        let found = take_images(&grey, &Tensor::new(&[MIRRORED], &device())?)?;
        let values = found.flatten_all()?.to_vec1::<f32>()?;
        let bytes: Vec<i64> = values.iter().map(|v| ((f64::from(*v) + 1.) * 127.5).round() as i64).collect();
        // Of the rows (255, 100) (0, 51) and (255, 17) (99, 0), mirrored.
        assert_eq!(bytes, [0, 51, 100, 100, 0, 0, 17, 17]);
        Ok(())
    }
}
