//! Balanced consistency regularisation: `mean (l(x) - l(T(x)))^2` over real and, as much, over generated images (Zhao et al.,
//! "Improved consistency regularization for GANs", 2021, section 3.1, with lambda_real = lambda_fake = the weight): a logit
//! stays what it is when the image is shifted. `T` moves an image by up to an eighth of its sides, a whole number of pixels
//! and at least up to one, and repeats its edge; it does not mirror it, which would make mirrored letters as good as others.

use super::{Found, Rule, Scene};
use crate::random;
use candle_core::{Result, Tensor, bail};

/// See the module.
pub const RULE: &dyn Rule = &Consistency;

/// An image is moved by up to its sides divided by this.
const PART: usize = 8;

#[derive(Debug)]
struct Consistency;

impl Rule for Consistency {
    fn take(&self, scene: &Scene<'_>) -> Result<Found> {
        let [real, generated] = scene.exact()?;
        let images = Tensor::cat(&[&real, &generated], 0)?;
        scene.stays_for(&moved(&images, scene.seed_of("consistency"), scene.first)?)
    }
}

/// Every image [n, H, W, C] moved by itself.
pub(super) fn moved(images: &Tensor, seed: u64, first: u64) -> Result<Tensor> {
    let &[n, h, w, c] = images.dims() else { bail!("images are [n, H, W, C], got {:?}", images.dims()) };
    let mut from = Vec::with_capacity(n * h * w);
    for u in random::uniform(seed, first, n, 2).chunks_exact(2) {
        let [down, right] = [(u[0], h), (u[1], w)].map(|(u, side)| {
            let most = (side / PART).max(1) as i64;
            (f64::from(u) * (2 * most + 1) as f64) as i64 - most
        });
        let at = |place: usize, by: i64, side: usize| (place as i64 - by).clamp(0, side as i64 - 1) as u32;
        from.extend((0..h).flat_map(|y| (0..w).map(move |x| at(y, down, h) * w as u32 + at(x, right, w))));
    }
    let from = Tensor::from_vec(from, (n, h * w, 1), images.device())?.broadcast_as((n, h * w, c))?.contiguous()?;
    images.reshape((n, h * w, c))?.contiguous()?.gather(&from, 1)?.reshape(images.shape())
}
