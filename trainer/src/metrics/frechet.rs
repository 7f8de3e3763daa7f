//! The Fréchet distance of two clouds of features, each taken for a normal distribution.
//!
//! Distance: Dowson & Landau, "The Fréchet distance between multivariate normal distributions" (1982), equation 4; as a
//! measure of generated images: Heusel et al., "GANs trained by a two time-scale update rule" (2017), equation 6. Their
//! features are those of a network trained on photographs; which ones are taken here is the caller's choice, so figures
//! of different features have nothing to say to each other.

use nalgebra::{DMatrix, DVector};

/// Steps of the iteration for eigenvalues, which takes a few for each.
const MAX_ITERATIONS: usize = 100_000;

/// Count, mean and covariance of vectors that arrive in batches, in `f64`.
#[derive(Clone, Debug, PartialEq)]
pub struct Moments {
    count: u64,
    mean: DVector<f64>,
    /// Sum of `(x - mean) (x - mean)'`.
    scatter: DMatrix<f64>,
}

impl Moments {
    /// Of no vector yet, of `width` elements each.
    pub fn new(width: usize) -> Self {
        Self { count: 0, mean: DVector::zeros(width), scatter: DMatrix::zeros(width, width) }
    }

    /// From what the accessors gave; `None` if the lengths do not fit.
    pub fn from_parts(count: u64, mean: &[f64], scatter: &[f64]) -> Option<Self> {
        let width = mean.len();
        (width.checked_mul(width) == Some(scatter.len())).then(|| Self {
            count,
            mean: DVector::from_column_slice(mean),
            scatter: DMatrix::from_column_slice(width, width, scatter),
        })
    }

    /// Takes in the vectors of `rows` [n, width]; a last, incomplete one is left out.
    ///
    /// Each batch is centred on its own mean before it is squared, and the parts are merged by the differences of their
    /// means (Chan, Golub & LeVeque, 1983, equation 2.1): nothing large is subtracted from something as large.
    pub fn add(&mut self, rows: &[f32]) {
        let width = self.mean.len();
        let count = rows.len().checked_div(width).unwrap_or(0);
        if count == 0 {
            return;
        }
        // One vector a column.
        let mut batch = DMatrix::from_iterator(width, count, rows[..count * width].iter().map(|&v| f64::from(v)));
        let mean = batch.column_mean();
        batch.column_iter_mut().for_each(|mut column| column -= &mean);

        let (old, new) = (self.count as f64, count as f64);
        let apart = mean - &self.mean;
        self.scatter.gemm(1., &batch, &batch.transpose(), 1.);
        self.scatter.ger(old * new / (old + new), &apart, &apart, 1.);
        self.mean.axpy(new / (old + new), &apart, 1.);
        self.count += count as u64;
    }

    /// How many vectors there were.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Their mean.
    pub fn mean(&self) -> &[f64] {
        self.mean.as_slice()
    }

    /// The sum of `(x - mean) (x - mean)'`, column by column.
    pub fn scatter(&self) -> &[f64] {
        self.scatter.as_slice()
    }

    /// The unbiased covariance; `None` where there is none: fewer than two vectors, or values that are not finite.
    fn covariance(&self) -> Option<DMatrix<f64>> {
        let covariance = &self.scatter / (self.count.checked_sub(1).filter(|n| *n > 0)? as f64);
        covariance.iter().all(|v| v.is_finite()).then(|| (&covariance + covariance.transpose()) * 0.5)
    }
}

/// The squared Fréchet distance of the two normal distributions with these moments, which is the figure commonly reported:
/// `|m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2))`, 0 or more.
///
/// `(S1 S2)^(1/2)` has the trace of `(S1^(1/2) S2 S1^(1/2))^(1/2)`, which is symmetric, so that two symmetric
/// eigen-decompositions do; what rounding makes of eigenvalues that are zero counts as zero, so covariances may be singular
/// (fewer vectors than elements, elements that never vary).
///
/// `None` where there is no distance: widths differ, fewer than two vectors on a side, or values that are not finite.
pub fn frechet_distance(a: &Moments, b: &Moments) -> Option<f64> {
    if a.mean.len() != b.mean.len() {
        return None;
    }
    let (s1, s2) = (a.covariance()?, b.covariance()?);
    let (values, vectors) = eigen(&s1)?;
    // S1^(1/2) up to a rotation, which does not change the eigenvalues.
    let root = DMatrix::from_diagonal(&values.map(|v| v.max(0.).sqrt())) * vectors.transpose();
    let product = &root * &s2 * root.transpose();
    let (product_values, _) = eigen(&((&product + product.transpose()) * 0.5))?;
    let trace_of_root: f64 = product_values.iter().map(|v| v.max(0.).sqrt()).sum();
    let distance = (&a.mean - &b.mean).norm_squared() + s1.trace() + s2.trace() - 2. * trace_of_root;
    distance.is_finite().then_some(distance.max(0.))
}

/// Eigenvalues and eigenvectors, one a column, of a symmetric matrix of finite numbers.
fn eigen(symmetric: &DMatrix<f64>) -> Option<(DVector<f64>, DMatrix<f64>)> {
    let eigen = symmetric.clone().try_symmetric_eigen(f64::EPSILON, MAX_ITERATIONS)?;
    Some((eigen.eigenvalues, eigen.eigenvectors))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `count` vectors of independent normal numbers.
    fn normal(count: usize, width: usize, seed: u64) -> Vec<f32> {
        let mut rows = vec![0f32; count * width];
        runtime::fill_latent(seed, 0, &mut rows);
        rows
    }

    fn moments(width: usize, rows: &[f32]) -> Moments {
        let mut moments = Moments::new(width);
        moments.add(rows);
        moments
    }

    /// A distribution given by its parameters.
    fn gaussian(mean: &[f64], covariance: &[f64]) -> Moments {
        Moments::from_parts(2, mean, covariance).expect("lengths fit")
    }

    fn diagonal(variances: &[f64]) -> Vec<f64> {
        DMatrix::from_diagonal(&DVector::from_column_slice(variances)).as_slice().to_vec()
    }

    fn assert_close(found: Option<f64>, expected: f64, tolerance: f64) {
        let found = found.expect("a distance");
        assert!((found - expected).abs() <= tolerance, "{found}, expected {expected}");
    }

    #[test]
    fn moments_agree_with_the_definition_whatever_the_batches() {
        let width = 5;
        // Far from zero: squares of the values would lose what varies.
        let mut rows = normal(301, width, 1);
        rows.iter_mut().enumerate().for_each(|(i, v)| *v = *v * 0.1 * (1 + i % width) as f32 + 1000.);
        let n = 301.;
        let at = |row: usize, i: usize| f64::from(rows[row * width + i]);
        let mean: Vec<f64> = (0..width).map(|i| (0..301).map(|row| at(row, i)).sum::<f64>() / n).collect();
        let covariance = |i: usize, j: usize| {
            (0..301).map(|row| (at(row, i) - mean[i]) * (at(row, j) - mean[j])).sum::<f64>() / (n - 1.)
        };
        for batch in [1, 7, 100, 301] {
            let mut found = Moments::new(width);
            rows.chunks(batch * width).for_each(|rows| found.add(rows));
            assert_eq!(found.count(), 301);
            let s = found.covariance().expect("a covariance");
            for i in 0..width {
                assert!((found.mean()[i] - mean[i]).abs() < 1e-11, "mean {i} in batches of {batch}");
                for j in 0..width {
                    let expected = covariance(i, j);
                    assert!((s[(i, j)] - expected).abs() < 1e-11, "element {i}, {j} in batches of {batch}");
                }
            }
            assert_eq!(Moments::from_parts(found.count(), found.mean(), found.scatter()), Some(found));
        }
    }

    #[test]
    fn the_same_distribution_is_at_distance_zero() {
        let a = moments(16, &normal(100, 16, 3));
        assert_close(frechet_distance(&a, &a), 0., 1e-12);
    }

    #[test]
    fn equal_covariances_leave_the_distance_of_the_means() {
        let covariance = moments(3, &normal(50, 3, 4)).covariance().expect("a covariance");
        let of_mean = |mean: &[f64]| gaussian(mean, covariance.as_slice());
        let (a, b) = (of_mean(&[1., 2., 3.]), of_mean(&[2., 0., 3.5]));
        assert_close(frechet_distance(&a, &b), 1. + 4. + 0.25, 1e-12);
    }

    #[test]
    fn commuting_covariances_leave_the_differences_of_their_roots() {
        let (a, b) = ([4f64, 9., 0.25, 1e-6], [1f64, 16., 0.25, 2.]);
        let expected: f64 = a.iter().zip(&b).map(|(a, b)| (a.sqrt() - b.sqrt()).powi(2)).sum();
        let (left, right) = (gaussian(&[0.; 4], &diagonal(&a)), gaussian(&[0.; 4], &diagonal(&b)));
        assert_close(frechet_distance(&left, &right), expected, 1e-12);

        // The same after a common rotation, here a reflection at the plane across (1, 1, 1, 1).
        let mirror = DMatrix::from_fn(4, 4, |i, j| f64::from(u8::from(i == j)) - 0.5);
        let turned = |s: &[f64]| {
            let turned = &mirror * DMatrix::from_row_slice(4, 4, s) * &mirror;
            gaussian(&[0.; 4], turned.as_slice())
        };
        let distance = frechet_distance(&turned(&diagonal(&a)), &turned(&diagonal(&b)));
        assert_close(distance, expected, 1e-12);
    }

    /// In two dimensions the eigenvalues of M = S1 S2 are x, y with x + y = tr M and x y = det M, so
    /// `tr M^(1/2) = x^(1/2) + y^(1/2) = (tr M + 2 (det M)^(1/2))^(1/2)`.
    #[test]
    fn covariances_that_do_not_commute_agree_with_the_closed_form_in_two_dimensions() {
        let (s1, s2) = ([2f64, 0.5, 0.5, 1.], [1f64, -0.3, -0.3, 3.]);
        let trace_m = s1[0] * s2[0] + s1[1] * s2[2] + s1[2] * s2[1] + s1[3] * s2[3];
        let determinant = |s: &[f64; 4]| s[0] * s[3] - s[1] * s[2];
        let root = (trace_m + 2. * (determinant(&s1) * determinant(&s2)).sqrt()).sqrt();
        let expected = 0.5f64.powi(2) + s1[0] + s1[3] + s2[0] + s2[3] - 2. * root;
        let (a, b) = (gaussian(&[0., 1.], &s1), gaussian(&[0.5, 1.], &s2));
        assert_close(frechet_distance(&a, &b), expected, 1e-12);
        assert_close(frechet_distance(&b, &a), expected, 1e-12);
        assert!((s1[0] * s2[1] + s1[1] * s2[3] - s2[0] * s1[1] - s2[1] * s1[3]).abs() > 0.1, "they do not commute");
    }

    #[test]
    fn singular_covariances_have_a_distance() {
        // Against a point, all of the variance counts.
        let (a, point) = (gaussian(&[0.; 3], &diagonal(&[1., 2., 3.])), gaussian(&[0.; 3], &[0.; 9]));
        assert_close(frechet_distance(&a, &point), 6., 1e-12);
        assert_close(frechet_distance(&point, &a), 6., 1e-12);
        assert_close(frechet_distance(&point, &point), 0., 0.);
        // Along different axes, too: the product of the covariances is zero.
        let (x, y) = (gaussian(&[0.; 3], &diagonal(&[1., 0., 0.])), gaussian(&[0.; 3], &diagonal(&[0., 4., 0.])));
        assert_close(frechet_distance(&x, &y), 5., 1e-12);
        // Fewer vectors than elements; moving them all moves the mean only.
        let rows = normal(10, 64, 5);
        let moved: Vec<f32> = rows.iter().map(|v| v + 2.).collect();
        assert_close(frechet_distance(&moments(64, &rows), &moments(64, &moved)), 64. * 4., 1e-3);
        // Elements that never vary.
        let flat = |scale: f32| {
            normal(200, 8, 6)
                .iter()
                .enumerate()
                .map(|(i, v)| if i % 2 == 0 { 1. } else { v * scale })
                .collect::<Vec<f32>>()
        };
        let (a, b) = (moments(8, &flat(1.)), moments(8, &flat(3.)));
        let variance = a.covariance().expect("a covariance").trace();
        let mean: f64 = a.mean().iter().zip(b.mean()).map(|(a, b)| (a - b).powi(2)).sum();
        assert_close(frechet_distance(&a, &b), mean + 4. * variance, 1e-6);
    }

    #[test]
    fn what_has_no_distance_gives_none() {
        let a = moments(2, &[1., 2., 3., 4.]);
        assert!(frechet_distance(&a, &moments(3, &[1., 2., 3., 4., 5., 6.])).is_none(), "another width");
        assert!(frechet_distance(&a, &moments(2, &[1., 2.])).is_none(), "a single vector");
        assert!(frechet_distance(&Moments::new(2), &a).is_none(), "no vector");
        assert!(frechet_distance(&a, &moments(2, &[1., f32::NAN, 3., 4.])).is_none());
        assert!(frechet_distance(&moments(2, &[1., f32::INFINITY, 3., 4.]), &a).is_none());
        assert!(Moments::from_parts(9, &[1., 2.], &[1., 0., 1.]).is_none(), "a covariance of another width");
    }
}
