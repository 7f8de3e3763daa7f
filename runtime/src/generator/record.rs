//! What is proved on a GPU before it is relied on: that images are the same when they are drawn again, and that the replay
//! of what was recorded as a CUDA graph draws them, too.

use super::{Generator, Values};
use crate::error::{Error, Result};
use crate::pixels::Pixel;
use crate::request::Request;
use crate::session::Runner;
use std::hash::{DefaultHasher, Hash, Hasher};

impl Generator {
    /// Draws the largest batch twice. What it needs is then there, or known not to be, and nothing that is recorded later
    /// moves: the first run finds out how much that is, the second one has it in one piece.
    ///
    /// # Errors
    /// What fails, and a provider that does not draw the same bits again; with what to do about it.
    pub(super) fn prepare(&mut self) -> std::result::Result<(), String> {
        let same = self.drawn()? == self.drawn()?;
        // Who asks for one way of computing wants to see what it does.
        if same || self.model.options().rewrite.is_some() {
            return Ok(());
        }
        Err("it draws other images when it is asked again; ask for cpu or auto".into())
    }

    /// Draws the largest batch, and tells all of its bits apart from others.
    fn drawn(&mut self) -> std::result::Result<u64, String> {
        let n = self.max_batch();
        let values = self
            .seeded(0, n)
            .map_err(|e| format!("a batch of {n} fails there: {e}; lower options.max_batch, or ask for cpu or auto"))?;
        let mut hasher = DefaultHasher::new();
        match values {
            Values::F16(values) => values.iter().for_each(|x| x.to_bits().hash(&mut hasher)),
            Values::F32(values) => values.iter().for_each(|x| x.to_bits().hash(&mut hasher)),
        }
        Ok(hasher.finish())
    }

    /// Records a batch of this size, unless that has been done. If that cannot be done, or replays give other images than
    /// plain runs, the size is run plainly from then on.
    ///
    /// # Errors
    /// What fails in a plain run.
    pub(super) fn record(&mut self, batch: usize) -> Result<()> {
        let model = self.model.clone();
        let Runner::Cuda(gpu) = model.runner() else { return self.run(batch, None) };
        if gpu.replays(batch) || gpu.why_plain(batch).is_some() {
            return self.run(batch, None);
        }
        // Two, so that a replay that does nothing is not taken for one that draws the image already there.
        let plain = [self.ends(0, batch)?, self.ends(1, batch)?];
        let tolerance = model.info().self_test.tolerance;
        let replay = |generator: &mut Self| Ok([generator.ends(0, batch)?, generator.ends(1, batch)?]);
        let proved = gpu.record(batch).and_then(|is_ours| match is_ours {
            false => Ok(()),
            true => match replay(self).map_err(|e: Error| e.to_string())? {
                replayed if are_close(&plain, &replayed, tolerance) => {
                    gpu.proved(batch);
                    Ok(())
                }
                _ => Err("its replay draws other images".into()),
            },
        });
        if let Err(why) = proved {
            gpu.refuse(batch, why);
        }
        self.run(batch, None)
    }

    /// A batch of the seed.
    fn seeded(&mut self, seed: u64, batch: usize) -> Result<Values<'_>> {
        let grey = self.info().image_in.map(|image| vec![0f32; image.len()]);
        let request = Request::seed(seed);
        // Not as a call that could be ended: it is about what comes after.
        self.compute(&grey.as_ref().map_or(request, |grey| request.image(grey)), batch, None)?;
        self.computed(batch)
    }

    /// The first and the last image of a batch of the seed.
    fn ends(&mut self, seed: u64, batch: usize) -> Result<Vec<f32>> {
        let len = self.info().image.len();
        let mut ends = vec![0f32; 2 * len];
        let values = self.seeded(seed, batch)?;
        for (end, at) in ends.chunks_exact_mut(len).zip([0, batch - 1]) {
            match values {
                Values::F16(values) => f32::from_f16(&values[at * len..][..len], end),
                Values::F32(values) => f32::from_f32(&values[at * len..][..len], end),
            }
        }
        Ok(ends)
    }
}

/// Whether no value differs by more than `tolerance`. A NaN is close to nothing.
fn are_close(a: &[Vec<f32>; 2], b: &[Vec<f32>; 2], tolerance: f32) -> bool {
    a.iter().flatten().zip(b.iter().flatten()).all(|(a, b)| (a - b).abs() <= tolerance)
}

#[cfg(test)]
mod tests {
    use super::are_close;

    #[test]
    fn closeness_counts_every_value_and_refuses_nan() {
        let of = |a: f32, b: f32| [vec![0.5, a], vec![-1., b]];
        assert!(are_close(&of(0., 1.), &of(0.01, 0.99), 0.02) && are_close(&of(1., 1.), &of(1., 1.), 0.));
        assert!(!are_close(&of(0., 1.), &of(0., 0.97), 0.02) && !are_close(&of(f32::NAN, 0.), &of(f32::NAN, 0.), 2.));
    }
}
