//! The whole state of a run in one safetensors file.
//!
//! Tensors: `generator/…` and `discriminator/…`, each parameter with its two moments (`.moment1`, `.moment2`) and, for
//! the generator, its moving average (`.average`); with loss scaling, its state (`loss_scale`), with historical averaging the
//! mean (`history`); `game/…` what the game keeps. Metadata: the recipe, the data's name, hash, shape and count, the hash of
//! its labels where they are looked at, the counts of images and steps, from which with the recipe's seed all randomness
//! follows, the averages of the tick at hand, what an evaluation of this state has found, the version of the program, the
//! SHA-256 of every tensor (`sha256/<tensor>`), and of all other metadata (`sha256`): a bit that is not what was written is
//! noticed, and the tensor named. The bytes depend on the state alone: the same state, the same file.

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::recipe::{Change, Recipe};
use crate::state::{Evaluated, State};
use crate::watch::Tick;
use candle_core::Device;
use sealed::{Metadata, Sealed, hash_of};
use std::path::Path;

pub use sealed::check_format;

pub(crate) mod playing;
pub(crate) mod sealed;

/// What is learned, by the names in the file: classes where they are looked at.
fn data(data: &Dataset, recipe: &Recipe) -> Result<Vec<(&'static str, String)>> {
    let shape = data.shape();
    let labels = data.labels().filter(|_| recipe.looks_at_classes());
    let always = [
        ("data.name", data.name().to_owned()),
        ("data.sha256", data.sha256()?.to_owned()),
        ("data.shape", format!("{} x {} x {}", shape.height, shape.width, shape.channels)),
        ("data.images", data.len().to_string()),
    ];
    let labels = labels.map(|labels| ("data.labels", format!("{} of {}", labels.sha256(), labels.classes)));
    Ok(always.into_iter().chain(labels).collect())
}

/// Writes the state to `path`, whole or not at all, and reads it back: what is there then is what was meant.
///
/// # Errors
/// [`Error::Diverged`] where a number of the state is none, which is not written. What the system says.
pub fn save(state: &State, of: &Dataset, path: &Path) -> Result<()> {
    let mut metadata = Metadata::from([
        ("recipe".to_owned(), state.recipe.to_toml()?),
        ("seed".to_owned(), state.recipe.seed.to_string()),
        ("tick".to_owned(), state.tick.averages()),
    ]);
    metadata.extend(data(of, &state.recipe)?.into_iter().map(|(name, value)| (name.to_owned(), value)));
    metadata.extend(playing::counts(&state.players, state.clock).map(|(name, count)| (name, count.to_string())));
    if let Some(found) = state.evaluation() {
        metadata.insert("evaluated".to_owned(), found.numbers());
    }
    sealed::write(path, playing::tensors(&state.players, &*state.game)?, metadata, state.clock.images)
}

/// A state that was read.
#[derive(Debug)]
pub struct Loaded {
    /// It.
    pub state: State,
    /// What the recipe that it goes on with has that the recorded one had not.
    pub changes: Vec<Change>,
}

/// The state in the file at `path`, on `device`, for a run of `recipe`, which may differ from the recorded one in what
/// [`Recipe::changes`] allows.
///
/// # Errors
/// [`Error::Damaged`] for a file that is not what was written; a file of another version, of another recipe, of other data.
pub fn load(path: &Path, recipe: Recipe, of: &Dataset, device: &Device) -> Result<Loaded> {
    let fail = |what: String| Error::Run { path: path.to_owned(), what };
    let mut state = State::new(recipe, of, device)?;
    let bytes = sealed::read(path, &playing::tensors(&state.players, &*state.game)?)?;
    let file = Sealed::new(path, &bytes)?;
    let recorded = Recipe::parse(file.get("recipe")?, &path.display().to_string(), &[])?;
    let changes = recorded.changes(&state.recipe).map_err(&fail)?;
    for (key, now) in data(of, &state.recipe)? {
        let then = file.get(key)?;
        // The name may change with the folder; what is in it must not.
        if key != "data.name" && then != now {
            let what = format!(
                "was learned from other data: {key} is {then} in the checkpoint and {now} in `{}`; give the data it began \
                 with (`{}`) with --data, or begin a new run",
                of.name(),
                file.get("data.name")?
            );
            return Err(fail(what));
        }
    }

    let images_a_step = state.recipe.training.images_a_step();
    state.clock = playing::restore(&file, &mut state.players, &*state.game, images_a_step, device)?;
    state.tick = Tick::restore(file.get("tick")?).ok_or_else(|| file.damaged("its tick is none"))?;
    let evaluated = file.metadata.get("evaluated");
    state.evaluated = evaluated.map(|text| restored(text).map_err(|what| file.damaged(what))).transpose()?;
    Ok(Loaded { state, changes })
}

/// What the file at `path` says of the evaluation of its state; its tensors are not read.
///
/// # Errors
/// As [`load`], for what it says.
pub fn evaluated(path: &Path) -> Result<Option<Evaluated>> {
    let damaged = |what: String| Error::Damaged { path: path.to_owned(), what };
    let metadata = sealed::description(path)?;
    if metadata.get("sha256") != Some(&hash_of(&metadata)) {
        return Err(damaged("its description does not have its hash".into()));
    }
    metadata.get("evaluated").map(|text| restored(text).map_err(damaged)).transpose()
}

/// The evaluation in the metadata of a file, or what is wrong with it.
fn restored(text: &str) -> std::result::Result<Evaluated, String> {
    Evaluated::restore(text).ok_or_else(|| "its evaluation is none".into())
}

#[cfg(test)]
mod tests;
