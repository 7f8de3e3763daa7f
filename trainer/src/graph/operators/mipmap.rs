//! An image at several sizes as one image: below its rows stand its halves, side by side, the half itself first.
//!
//! It is how a discriminator is shown all sizes that a generator makes (Karnewar & Wang, "MSG-GAN: multi-scale gradients for
//! generative adversarial networks", 2020) by a game that knows single images only. Places that no size covers are 0, and read
//! by nobody; the square of a slope's length is the sum of those at all sizes.

use crate::graph::operator::{Context, OperandGradients, Operator, Saved, operands};
use crate::onnx::{Edge, Onnx};
use crate::ops;
use candle_core::{Result, Tensor, bail};
use std::ops::Range;

/// `[H, W, C]`, `[H / 2, W / 2, C]`, `[H / 4, W / 4, C]`, ... -> `[H + H / 2, W, C]`.
#[derive(Clone, Copy, Debug)]
pub struct Mipmap;

/// One size of a mipmap, 0 for the largest: `[H + H / 2, W, C]` -> `[H / 2^level, W / 2^level, C]`.
#[derive(Clone, Copy, Debug)]
pub struct MipLevel {
    /// How many times the image was halved.
    pub level: usize,
}

/// The mipmaps of images [N, H, W, C], by the means of squares of pixels: of all sizes down to the first one with an odd side.
///
/// # Errors
/// Images with an odd side.
pub fn mipmap(images: &Tensor) -> Result<Tensor> {
    let mut levels = vec![images.clone()];
    while let Some(last) = levels.last()
        && last.dim(1)? % 2 == 0
        && last.dim(2)? % 2 == 0
    {
        levels.push(ops::average_pool(last, 2)?);
    }
    let levels: Vec<&Tensor> = levels.iter().collect();
    Mipmap.shape(&levels.iter().map(|level| &level.dims()[1..]).collect::<Vec<_>>())?;
    Ok(Mipmap.forward(&levels)?.0)
}

/// The rows and the columns of a level, in the mipmap of an image of these sides.
fn place([h, w]: [usize; 2], level: usize) -> [Range<usize>; 2] {
    if level == 0 {
        return [0..h, 0..w];
    }
    let left: usize = (1..level).map(|before| w >> before).sum();
    [h..h + (h >> level), left..left + (w >> level)]
}

/// What stands at a place of images.
fn cut(images: &Tensor, [rows, columns]: [Range<usize>; 2]) -> Result<Tensor> {
    images.narrow(1, rows.start, rows.len())?.narrow(2, columns.start, columns.len())?.contiguous()
}

impl Operator for Mipmap {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        let is_half = |pair: &[&[usize]]| match (pair[0], pair[1]) {
            ([h, w, c], [half, narrow, same]) => [*h, *w, *c] == [2 * half, 2 * narrow, *same],
            _ => false,
        };
        match from {
            [[h, w, c], _, ..] if from.windows(2).all(is_half) => Ok(vec![h + h / 2, *w, *c]),
            _ => bail!("a mipmap is of an image of even sides, its half, and so on, got {from:?}"),
        }
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [image, halves @ ..] = from else { bail!("a mipmap of nothing") };
        let (height, width) = (image.dim(1)? / 2, image.dim(2)?);
        let pad = |half: &&Tensor| half.pad_with_zeros(1, 0, height - half.dim(1)?);
        let below = Tensor::cat(&halves.iter().map(pad).collect::<Result<Vec<_>>>()?, 2)?;
        let below = below.pad_with_zeros(2, 0, width - below.dim(2)?)?;
        Ok((Tensor::cat(&[*image, &below], 1)?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let sides = [context.from[0].dim(1)?, context.from[0].dim(2)?];
        (0..context.from.len()).map(|level| cut(grad, place(sides, level)).map(Some)).collect()
    }

    fn emit(&self, _: &mut Onnx, _: &[Edge]) -> Result<Edge> {
        bail!("a mipmap is what a discriminator sees: files have the image alone")
    }
}

impl MipLevel {
    /// The sides of the image whose mipmap this is.
    fn sides(&self, mipmap: &[usize]) -> Result<[usize; 2]> {
        match mipmap {
            &[all, w, _] if all % 3 == 0 && (all / 3 * 2) >> self.level > 0 && w >> self.level > 0 => {
                Ok([all / 3 * 2, w])
            }
            _ => bail!("{mipmap:?} is no mipmap with a level {}", self.level),
        }
    }
}

impl Operator for MipLevel {
    fn shape(&self, from: &[&[usize]]) -> Result<Vec<usize>> {
        let [mipmap] = operands(self, from)?;
        let [rows, columns] = place(self.sides(mipmap)?, self.level);
        Ok(vec![rows.len(), columns.len(), mipmap[2]])
    }

    fn forward(&self, from: &[&Tensor]) -> Result<(Tensor, Saved)> {
        let [x] = operands(self, from)?;
        Ok((cut(x, place(self.sides(&x.dims()[1..])?, self.level))?, Saved::new()))
    }

    fn backward(&self, context: Context<'_>, grad: &Tensor, _: &[bool]) -> Result<OperandGradients> {
        let [x] = operands(self, context.from)?;
        let places = place(self.sides(&x.dims()[1..])?, self.level);
        let mut grad = grad.clone();
        for (axis, place) in (1..).zip(places) {
            grad = grad.pad_with_zeros(axis, place.start, x.dim(axis)? - place.end)?;
        }
        Ok(vec![Some(grad.contiguous()?)])
    }

    fn emit(&self, _: &mut Onnx, _: &[Edge]) -> Result<Edge> {
        bail!("sizes of a mipmap are what a discriminator sees: files have the image alone")
    }
}
