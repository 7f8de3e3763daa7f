//! Pictures of a run: real images once, and samples of the same latents from the start to the end.

use super::{Hook, Scene, Tick, grid};
use crate::error::Result;
use std::time::Instant;

/// `reals.png` and `fakes-<images>.png` in the run's folder.
#[derive(Debug)]
pub struct Grids;

impl Grids {
    fn fakes(&self, scene: &Scene<'_>) -> Result<()> {
        grid::write(&scene.run.fakes_path(scene.state.clock.images), scene.samples, scene.columns)
    }
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
