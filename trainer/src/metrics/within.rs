//! How much images of one class differ from each other: what a conditional generator loses when it draws one image a class.

use runtime::ImageShape;

/// Numbers that are kept at most; with more classes and larger images nothing is measured.
const MOST: usize = 1 << 24;

/// Sums of the values of images, and of their squares, class by class.
#[derive(Clone, Debug)]
pub struct Within {
    len: usize,
    counts: Vec<u64>,
    sums: Vec<[f64; 2]>,
}

impl Within {
    /// Of no images of this shape; `None` where there are too many classes of too large images.
    pub fn new(shape: ImageShape, classes: usize) -> Option<Self> {
        let all = shape.len().checked_mul(classes).filter(|&all| all <= MOST)?;
        Some(Self { len: shape.len(), counts: vec![0; classes], sums: vec![[0.; 2]; all] })
    }

    /// Adds images [n, H, W, C], 0 to 255, of these classes, each below their number.
    pub fn add(&mut self, classes: &[u32], images: &[u8]) {
        for (&class, image) in classes.iter().zip(images.chunks_exact(self.len)) {
            let class = class as usize;
            self.counts[class] += 1;
            for (sums, &value) in self.sums[class * self.len..][..self.len].iter_mut().zip(image) {
                let value = f64::from(value);
                sums[0] += value;
                sums[1] += value * value;
            }
        }
    }

    /// For each class the variance of a value over its images, the mean over all values; `None` for fewer than 2 images.
    pub fn variances(&self) -> Vec<Option<f64>> {
        let of = |(&n, sums): (&u64, &[[f64; 2]])| {
            let n = n as f64;
            let variance = |[sum, squares]: &[f64; 2]| (squares - sum * sum / n) / (n - 1.);
            (n >= 2.).then(|| sums.iter().map(variance).sum::<f64>() / self.len as f64)
        };
        self.counts.iter().zip(self.sums.chunks_exact(self.len)).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variances_are_those_within_each_class() {
        let shape = ImageShape { channels: 1, height: 1, width: 2 };
        let mut within = Within::new(shape, 4).expect("small");
        within.add(&[0, 2, 0], &[10, 100, 7, 9, 14, 100]);
        within.add(&[0, 3, 3], &[12, 106, 5, 5, 5, 5]);
        // Of class 0: 10, 14, 12 with the variance 4, and 100, 100, 106 with 12.
        assert_eq!(within.variances(), [Some(8.), None, None, Some(0.)]);
        assert!(Within::new(ImageShape { channels: 3, height: 4096, width: 4096 }, 10).is_none());
    }
}
