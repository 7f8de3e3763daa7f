//! Pictures of a run: real images once, and samples of the same latents from the start to the end.

use super::{Hook, Scene, Tick, grid};
use crate::error::Result;
use crate::files;
use crate::run::Run;
use std::time::Instant;

/// `reals.png` and `fakes-<images>.png` in the run's folder.
#[derive(Debug)]
pub struct Grids;

impl Grids {
    fn fakes(&self, scene: &Scene<'_>) -> Result<()> {
        grid::write(&scene.run.fakes_path(scene.state.clock.images), scene.samples, scene.columns)
    }
}

/// Gives the grids after so many images names by which they are told from those of the way that the run takes now.
///
/// # Errors
/// What the system says.
pub fn set_aside(run: &Run, images: u64) -> Result<()> {
    for (_, path) in run.fakes()?.iter().filter(|(number, _)| *number > images) {
        files::rename(path, &path.with_extension("given-up.png"))?;
    }
    Ok(())
}

impl Hook for Grids {
    fn name(&self) -> &'static str {
        "the grid of samples"
    }

    fn begin(&mut self, scene: &Scene<'_>) -> Result<()> {
        if scene.state.clock.images > 0 {
            return Ok(());
        }
        grid::write(&scene.run.reals_path(), scene.reals, scene.columns)?;
        self.fakes(scene)
    }

    fn tick(&mut self, scene: &Scene<'_>, tick: &mut Tick) -> Result<()> {
        let start = Instant::now();
        self.fakes(scene)?;
        tick.set("grid_seconds", start.elapsed().as_secs_f64());
        Ok(())
    }
}
