//! What TensorBoard shows of a run.

use super::tensorboard::Writer;
use super::{Hook, Scene, Tick, grid, log};
use crate::error::Result;

/// Event files in the run's folder: every figure, grids of real images and of samples, and the recipe.
#[derive(Debug, Default)]
pub struct Events {
    writer: Option<Writer>,
}

impl Events {
    /// The file of this session. It begins when it can be written: what it says of the run comes first.
    fn writer(&mut self, scene: &Scene<'_>) -> Result<&mut Writer> {
        let writer = match self.writer.take() {
            Some(writer) => writer,
            None => begin(scene)?,
        };
        Ok(self.writer.insert(writer))
    }
}

fn begin(scene: &Scene<'_>) -> Result<Writer> {
    let images = scene.state.clock.images;
    // Points after the last tick of the log are of a way that was given up: a remedy that has won a race goes on later than
    // that.
    let mut writer = Writer::create(scene.run.path(), log::last(&scene.run.stats_path(), images)?)?;
    // Markdown shows what is indented as it is.
    let recipe: String = scene.state.recipe.to_toml()?.lines().map(|line| format!("    {line}\n")).collect();
    writer.text(images, "recipe", &recipe)?;
    image(&mut writer, images, "reals", &grid::draw(scene.reals, scene.columns)?)?;
    if images == 0 {
        image(&mut writer, images, "fakes", &grid::draw(scene.samples, scene.columns)?)?;
    }
    Ok(writer)
}

impl Hook for Events {
    fn name(&self) -> &'static str {
        "the event file"
    }

    fn begin(&mut self, scene: &Scene<'_>) -> Result<()> {
        self.writer(scene).map(drop)
    }

    fn tick(&mut self, scene: &Scene<'_>, tick: &mut Tick) -> Result<()> {
        let writer = self.writer(scene)?;
        writer.scalars(tick.images, tick.figures())?;
        image(writer, tick.images, "fakes", &grid::draw(scene.samples, scene.columns)?)
    }
}

fn image(writer: &mut Writer, step: u64, tag: &str, grid: &grid::Grid) -> Result<()> {
    writer.image(step, tag, &grid.png, (grid.width as u32, grid.height as u32), grid.channels as u8)
}
