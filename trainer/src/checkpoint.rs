//! The whole state of a run in one safetensors file.
//!
//! Tensors: `generator/…` and `discriminator/…`, each parameter with its two moments (`.moment1`, `.moment2`) and, for
//! the generator, its moving average (`.average`); with loss scaling, its state (`loss_scale`). Metadata: the recipe, and the
//! count of images and steps, from which with the recipe's seed all randomness follows. The bytes depend on the state alone:
//! the same state, the same file.

use crate::data::Dataset;
use crate::error::{Error, Result};
use crate::files;
use crate::game::Clock;
use crate::recipe::Recipe;
use crate::state::State;
use candle_core::{Device, Tensor};
use std::collections::BTreeMap;
use std::path::Path;

const FORMAT: &str = "4";

/// What reads those before.
const OLDER: &str = "older formats are read by the trainer that wrote them: versions before recipes had an optimiser for \
                     each network";

/// Every tensor of the state under its name in the file.
fn tensors(state: &State) -> Result<Vec<(String, Tensor)>> {
    let mut all = Vec::new();
    for player in &state.players {
        all.extend(player.learner.tensors()?.into_iter().map(|(name, t)| (format!("{}/{name}", player.role), t)));
    }
    Ok(all)
}

/// How far it is, by the names in the file.
fn counts(state: &State) -> impl Iterator<Item = (String, u64)> {
    let Clock { images, latents, steps } = state.clock;
    let clock = [("clock.images", images), ("clock.latents", latents), ("clock.steps", steps)];
    let players = state.players.iter().map(|player| (format!("{}.steps", player.role), player.learner.steps()));
    clock.into_iter().map(|(name, count)| (name.to_owned(), count)).chain(players)
}

/// Writes the state to `path`, whole or not at all.
///
/// # Errors
/// What the system says.
pub fn save(state: &State, path: &Path) -> Result<()> {
    let mut metadata = BTreeMap::from([
        ("kiln.checkpoint".to_owned(), FORMAT.to_owned()),
        ("recipe".to_owned(), state.recipe.to_toml()?),
        ("seed".to_owned(), state.recipe.seed.to_string()),
    ]);
    metadata.extend(counts(state).map(|(name, count)| (name, count.to_string())));
    let tensors = tensors(state)?;
    let named = tensors.iter().map(|(name, t)| (name.clone(), t));
    files::write_atomically(path, &files::safetensors_bytes(named, metadata)?)
}

/// The state in the file at `path`, on `device`, for a run of `recipe`, which may differ from the recorded one in its
/// length, rhythm and export only.
///
/// # Errors
/// A file that is damaged, of another version, or of another recipe.
pub fn load(path: &Path, recipe: Recipe, data: &Dataset, device: &Device) -> Result<State> {
    let fail = |what: String| Error::Run { path: path.to_owned(), what };
    let damaged = |e: &dyn std::fmt::Display| {
        fail(format!("is damaged or no checkpoint ({e}); remove it to go on from the one before, if there is one"))
    };
    let bytes = std::fs::read(path).map_err(Error::io("read", path))?;
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|e| damaged(&e))?;
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).map_err(|e| damaged(&e))?;
    let metadata = header.metadata().clone().unwrap_or_default();
    let get = |key: &str| metadata.get(key).ok_or_else(|| damaged(&format_args!("it has no metadata `{key}`")));
    if get("kiln.checkpoint")? != FORMAT {
        return Err(fail(format!("has format {}, this trainer reads {FORMAT}; {OLDER}", get("kiln.checkpoint")?)));
    }
    let count = |key: &str| get(key)?.parse::<u64>().map_err(|e| damaged(&format_args!("{key}: {e}")));
    let recorded = Recipe::parse(get("recipe")?, &path.display().to_string(), &[])?;
    if !same_run(&recorded, &recipe) || count("seed")? != recipe.seed {
        let what =
            "belongs to another recipe; only the length of a run, its rhythm and its export can be changed on the way";
        return Err(fail(what.into()));
    }

    let mut state = State::new(recipe, data, device)?;
    let expected = tensors(&state)?;
    if expected.len() != file.len() {
        return Err(damaged(&format_args!("it holds {} tensors, the recipe has {}", file.len(), expected.len())));
    }
    for (name, tensor) in &expected {
        let found = files::read_tensor(&file, name).map_err(|e| damaged(&e))?;
        if found.dtype() != tensor.dtype() || found.dims() != tensor.dims() {
            let (dims, dtype) = (tensor.dims(), tensor.dtype());
            let what =
                format_args!("{name} is {:?} {:?}, the recipe has {dtype:?} {dims:?}", found.dtype(), found.dims());
            return Err(damaged(&what));
        }
        tensor.slice_set(&found.to_device(device)?, 0, 0)?;
    }
    for player in &mut state.players {
        player.learner.refresh()?;
        player.learner.set_steps(count(&format!("{}.steps", player.role))?);
    }
    let [images, latents, steps] = ["clock.images", "clock.latents", "clock.steps"].map(count);
    state.clock = Clock { images: images?, latents: latents?, steps: steps? };
    Ok(state)
}

/// Whether the two recipes train alike.
fn same_run(a: &Recipe, b: &Recipe) -> bool {
    let free = |recipe: &Recipe| {
        let mut recipe = recipe.clone();
        recipe.training.kimg = 0.;
        recipe.training.tick_kimg = 0.;
        recipe.training.checkpoint_kimg = 0.;
        recipe.export.precision = runtime::Precision::F32;
        recipe.data.source = Default::default();
        recipe
    };
    free(a) == free(b)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data;
    use crate::ops::testing::device;
    use crate::recipe::Arithmetic;
    use crate::state::tests::{batches, small};
    use std::sync::Arc;

    #[test]
    fn a_restored_state_goes_on_to_the_same_bytes() -> Result<()> {
        resumes(Arithmetic::F32)?;
        // Half precision needs a GPU.
        if device().is_cpu() { Ok(()) } else { resumes(Arithmetic::F16) }
    }

    /// A scale from which some steps are skipped
    fn scale_up(state: &State) -> Result<()> {
        for scale in state.players.iter().filter_map(|player| player.learner.loss_scale()) {
            scale.slice_set(&Tensor::new(&[1_048_576f32], &device())?, 0, 0)?;
        }
        Ok(())
    }

    fn resumes(precision: Arithmetic) -> Result<()> {
        let small = |name: &str| {
            let mut recipe = small(name);
            recipe.training.precision = precision;
            recipe
        };
        let folder = tempfile::tempdir().expect("a folder");
        let (half, whole, resumed) =
            (folder.path().join("half"), folder.path().join("whole"), folder.path().join("resumed"));
        let data = Arc::new(data::open(Path::new(data::MNIST))?.train);
        let mut state = State::new(small("resumes"), &data, &device())?;
        let mut batches = batches(&state, &data);
        for step in 0..8 {
            if step == 4 {
                scale_up(&state)?;
                save(&state, &half)?;
            }
            state.step(&mut || batches.next_batch())?;
        }
        save(&state, &whole)?;
        let scales = state.loss_scales()?;
        assert_eq!(scales.len(), if precision == Arithmetic::F16 { 2 } else { 0 });
        assert!(scales.iter().all(|(_, found)| found.skipped > 4), "{scales:?}");
        let mut recipe = small("resumes");
        recipe.training.kimg = 7.;
        let mut state = load(&half, recipe, &data, &device())?;
        assert_eq!((state.clock.images, state.clock.latents, state.clock.steps), (32, 32, 4));
        let mut batches = self::batches(&state, &data);
        for _ in 0..4 {
            state.step(&mut || batches.next_batch())?;
        }
        state.recipe.training.kimg = small("resumes").training.kimg;
        save(&state, &resumed)?;
        assert_eq!(state.loss_scales()?, scales);
        assert!(std::fs::read(&whole).expect("reads") == std::fs::read(&resumed).expect("reads"), "bytes differ");
        Ok(())
    }

    #[test]
    fn other_and_damaged_files_are_errors() -> Result<()> {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("checkpoint");
        let data = Arc::new(data::open(Path::new(data::MNIST))?.train);
        save(&State::new(small("a"), &data, &device())?, &path)?;
        let error = |recipe: Recipe| load(&path, recipe, &data, &device()).expect_err("must be refused").to_string();
        let mut other = small("a");
        other.seed = 6;
        assert!(error(other).contains("another recipe"));
        let bytes = std::fs::read(&path).expect("reads");
        for end in [0, 7, 20, bytes.len() / 2, bytes.len() - 1] {
            std::fs::write(&path, &bytes[..end]).expect("writes");
            assert!(error(small("a")).contains("damaged"), "cut at {end}");
        }
        Ok(())
    }
}
