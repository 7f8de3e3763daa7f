//! Precision and recall: how many samples could be images of the data, and how much of the data samples could be
//! (Kynkäänniemi et al., "Improved precision and recall metric for assessing generative models", 2019, equations 1 and 2).
//!
//! A set of points stands for the manifold that it was drawn from: the union of balls, one around each point, that reach as
//! far as its third nearest neighbour in the set, [`NEIGHBOURS`]. Precision is the part of the generated points that lie in
//! the real ones' balls, recall the part of the real points that lie in the generated ones'. Both are from 0 to 1, and
//! depend on how many points there are, of which both sets have as many. Where a distance is the radius, the point is inside.

use crate::ops::vectorised;
use rayon::prelude::*;

/// Which neighbour a ball reaches to: the paper's 3.
pub const NEIGHBOURS: usize = 3;
/// Points of each set that are looked at, at most. Their distances, as many as its square, are taken in blocks and not kept:
/// 5,000 of 96 elements take half a second on two cores, and some megabytes.
pub const MOST_POINTS: usize = 5_000;

/// Points whose distances are taken side by side.
const TILE: usize = 64;
/// Points that pass over a tile while it is in the cache.
const BLOCK: usize = 16;

/// What [`precision_recall`] finds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PrecisionRecall {
    /// Of the generated points, the part in the manifold of the real ones.
    pub precision: f64,
    /// Of the real points, the part in the manifold of the generated ones.
    pub recall: f64,
}

/// Of `real` and `generated`, [n, `width`] each: the first points of both, as many as the smaller set has, and at most
/// [`MOST_POINTS`]. `None` where that is no more than [`NEIGHBOURS`], so that balls have no radius.
pub fn precision_recall(real: &[f32], generated: &[f32], width: usize) -> Option<PrecisionRecall> {
    let count = real.len().min(generated.len()).checked_div(width)?.min(MOST_POINTS);
    if count <= NEIGHBOURS {
        return None;
    }
    let [real, generated] = [real, generated].map(|rows| Manifold::new(&rows[..count * width], width));
    Some(PrecisionRecall { precision: real.share_of(generated.rows), recall: generated.share_of(real.rows) })
}

/// Points, and their balls.
struct Manifold<'a> {
    /// [n, width].
    rows: &'a [f32],
    width: usize,
    /// The points again, [n / TILE, width, TILE]: neighbours in memory are treated alike.
    tiles: Vec<[f32; TILE]>,
    /// The square of each ball's radius.
    radii: Vec<f32>,
}

impl<'a> Manifold<'a> {
    fn new(rows: &'a [f32], width: usize) -> Self {
        let (count, points_of_tile) = (rows.len() / width, TILE * width);
        let tile = |points: &'a [f32]| {
            (0..width).map(move |k| std::array::from_fn(|lane| points.get(lane * width + k).copied().unwrap_or(0.)))
        };
        let tiles = rows.chunks(points_of_tile).flat_map(tile).collect();
        let mut manifold = Self { rows, width, tiles, radii: vec![0.; count] };
        let radii = manifold.of_each(rows, |point, distances| {
            // Itself is no neighbour; another point at the same place is one.
            distances[point] = f32::INFINITY;
            *distances.select_nth_unstable_by(NEIGHBOURS - 1, f32::total_cmp).1
        });
        manifold.radii = radii;
        manifold
    }

    /// The part of these points that lie in a ball.
    fn share_of(&self, rows: &[f32]) -> f64 {
        let inside = self.of_each(rows, |_, distances| distances.iter().zip(&self.radii).any(|(d, r)| d <= r));
        inside.iter().filter(|&&inside| inside).count() as f64 / inside.len() as f64
    }

    /// What `of` makes of the squares of each row's distances to all points; it may change them.
    fn of_each<T: Send>(&self, rows: &[f32], of: impl Fn(usize, &mut [f32]) -> T + Sync) -> Vec<T> {
        let count = self.radii.len();
        let blocks = rows.par_chunks(BLOCK * self.width).enumerate();
        let found = blocks.flat_map_iter(|(block, rows)| {
            let mut distances = vec![0f32; rows.len() / self.width * count];
            self.distances(rows, &mut distances);
            let each = distances.chunks_exact_mut(count).enumerate();
            each.map(|(i, distances)| of(block * BLOCK + i, distances)).collect::<Vec<_>>()
        });
        found.collect()
    }

    /// The squares of the distances of `rows` [m, width] to all points: [m, n]. Sums of squares of differences, in one order:
    /// a distance is the same from both ends, and 0 where points are the same.
    fn distances(&self, rows: &[f32], to: &mut [f32]) {
        let count = self.radii.len();
        vectorised(
            #[inline(always)]
            || {
                for (tile, points) in self.tiles.chunks_exact(self.width).enumerate() {
                    for (row, to) in rows.chunks_exact(self.width).zip(to.chunks_exact_mut(count)) {
                        let mut sums = [0f32; TILE];
                        for (values, &value) in points.iter().zip(row) {
                            for (sum, other) in sums.iter_mut().zip(values) {
                                let difference = other - value;
                                *sum += difference * difference;
                            }
                        }
                        let to = &mut to[tile * TILE..];
                        let lanes = to.len().min(TILE);
                        to[..lanes].copy_from_slice(&sums[..lanes]);
                    }
                }
            },
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(real: &[f32], generated: &[f32], width: usize) -> [f64; 2] {
        let PrecisionRecall { precision, recall } = precision_recall(real, generated, width).expect("points enough");
        [precision, recall]
    }

    fn normal(count: usize, width: usize, seed: u64) -> Vec<f32> {
        let mut values = vec![0f32; count * width];
        runtime::fill_latent(seed, 0, &mut values);
        values
    }

    #[test]
    fn points_on_a_line_are_those_worked_out_by_hand() {
        // The third neighbours are at 3, 2, 2, 3 and 9: the balls [-3, 3], [-1, 3], [0, 4], [0, 6] and [1, 19].
        let real = [0., 1., 2., 3., 10.];
        // At 3, 2, 2, 3 and 30: [6, 12], [8, 12], [9, 13], [9, 15] and [10, 70].
        let generated = [9., 10., 11., 12., 40.];
        assert_eq!(of(&real, &generated, 1), [0.8, 0.2]);
        assert_eq!(of(&generated, &real, 1), [0.2, 0.8]);
        // On the rim is inside, the next number is not.
        assert_eq!(of(&real, &[19.; 5], 1)[0], 1.);
        assert_eq!(of(&real, &[19f32.next_up(); 5], 1)[0], 0.);
    }

    /// By the definition: all distances, sorted, in `f64`.
    fn by_definition(real: &[f32], generated: &[f32], width: usize) -> [f64; 2] {
        let square = |a: &[f32], b: &[f32]| -> f64 {
            a.iter().zip(b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum()
        };
        let share = |points: &[f32], of: &[f32]| {
            let radius = |i: usize| {
                let own = &points[i * width..][..width];
                let others = points.chunks_exact(width).enumerate().filter(|(j, _)| *j != i);
                let mut all: Vec<f64> = others.map(|(_, other)| square(own, other)).collect();
                all.sort_by(f64::total_cmp);
                all[2]
            };
            let radii: Vec<f64> = (0..points.len() / width).map(radius).collect();
            let inside = |point: &&[f32]| {
                points.chunks_exact(width).zip(&radii).any(|(centre, &radius)| square(point, centre) <= radius)
            };
            of.chunks_exact(width).filter(inside).count() as f64 / (of.len() / width) as f64
        };
        [share(real, generated), share(generated, real)]
    }

    /// Clouds of which some points are in the other's manifold and some are not, of sizes that fill no tile.
    fn clouds() -> Vec<(usize, Vec<f32>, Vec<f32>)> {
        let cloud = |(count, width): (usize, usize), seed: u64| {
            // Every third point is where the other cloud has none.
            let place = |i: usize, far: f32| if i / width % 3 == 2 { far } else { 0. };
            let real = normal(count, width, seed).into_iter().enumerate();
            let generated = normal(count, width, seed + 100).into_iter().enumerate();
            let real = real.map(|(i, v)| v + place(i, 30.)).collect();
            (width, real, generated.map(|(i, v)| 1.2 * v + 0.2 + place(i, -30.)).collect())
        };
        let sizes = [(4, 1), (5, 3), (31, 2), (64, 7), (65, 8), (100, 96), (333, 5), (1000, 3)];
        sizes.into_iter().zip(1..).map(|(size, seed)| cloud(size, seed)).collect()
    }

    #[test]
    fn clouds_are_compared_as_the_definition_says() {
        let mut all = Vec::new();
        for (width, real, generated) in clouds() {
            let found = of(&real, &generated, width);
            assert_eq!(found, by_definition(&real, &generated, width), "{} of {width}", real.len() / width);
            all.extend(found);
        }
        all.retain(|&part| part > 0. && part < 1.);
        assert!(all.len() >= 10, "it is no test where all points are inside or none is: {all:?}");
    }

    #[test]
    fn a_generator_of_one_image_has_no_recall() {
        let real = normal(200, 6, 3);
        let (one, far) = (real[..6].repeat(200), [9f32; 6].repeat(200));
        // An image of the data, always: all of it is real, and of the data there is that image alone.
        assert_eq!(of(&real, &one, 6), [1., 1. / 200.]);
        assert_eq!(of(&real, &far, 6), [0., 0.]);
        assert_eq!(of(&one, &one, 6), [1., 1.]);
        // The data itself.
        assert_eq!(of(&real, &real, 6), [1., 1.]);
        // Half of what there is, far from the rest.
        let moved = |by: f32| real[..100 * 6].iter().map(move |v| v + by);
        let both: Vec<f32> = moved(0.).chain(moved(50.)).collect();
        let half: Vec<f32> = moved(50.).chain(moved(50.)).collect();
        assert_eq!(of(&both, &half, 6), [1., 0.5]);
    }

    #[test]
    fn as_many_points_of_each_are_compared() {
        let (real, generated) = (normal(50, 4, 1), normal(300, 4, 2));
        assert_eq!(of(&real, &generated, 4), of(&real, &generated[..200], 4));
        assert_eq!(of(&generated, &real, 4), of(&generated[..200], &real, 4));
        let many = [3, 4].map(|seed| normal(MOST_POINTS + 50, 1, seed));
        assert_eq!(of(&many[0], &many[1], 1), of(&many[0][..MOST_POINTS], &many[1][..MOST_POINTS], 1));
        for few in [0, 1, 3] {
            assert_eq!(precision_recall(&real, &generated[..few * 4], 4), None);
            assert_eq!(precision_recall(&real[..few * 4], &generated, 4), None);
        }
        assert!(precision_recall(&real[..16], &generated, 4).is_some());
        assert_eq!(precision_recall(&real, &generated, 0), None);
    }

    #[test]
    fn what_is_no_number_is_nowhere() {
        let (real, mut generated) = (normal(50, 4, 1), normal(50, 4, 1));
        generated[4 * 7] = f32::NAN;
        assert_eq!(of(&real, &generated, 4)[0], 49. / 50.);
    }

    #[test]
    fn the_number_of_threads_makes_no_difference() {
        let (real, generated) = (normal(500, 9, 1), normal(500, 9, 2));
        let with = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("a pool");
            pool.install(|| precision_recall(&real, &generated, 9))
        };
        assert_eq!(with(1), with(5));
    }

    /// What other programs can check: with `KILN_MANIFOLDS`, a file, the clouds and what was found go there as JSON, for
    /// `tests/python/check_manifolds.py`.
    #[test]
    fn clouds_for_others() {
        let case = |(width, real, generated): (usize, Vec<f32>, Vec<f32>)| {
            let [precision, recall] = of(&real, &generated, width);
            serde_json::json!({
                "width": width, "real": real, "generated": generated, "precision": precision, "recall": recall,
            })
        };
        let cases: Vec<_> = clouds().into_iter().map(case).collect();
        if let Some(path) = std::env::var_os("KILN_MANIFOLDS") {
            std::fs::write(path, serde_json::json!({ "neighbours": NEIGHBOURS, "cases": cases }).to_string())
                .expect("writes");
        }
    }
}
