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
use crate::files;
use crate::recipe::{Change, Recipe};
use crate::state::{Evaluated, State};
use crate::watch::Tick;
use candle_core::{Device, Tensor};
use safetensors::SafeTensors;
use safetensors::tensor::Metadata as Header;
use std::collections::BTreeMap;
use std::io::{ErrorKind, Read};
use std::path::Path;

const FORMAT: &str = "5";

/// What reads those before.
const OLDER: &str = "older formats are read by the trainer that wrote them, formats 1 to 4 by versions of 0.1.0 before \
                     checkpoints had hashes; begin again with this one, or export with that one";

/// Where the names of what the game keeps begin.
const OF_GAME: &str = "game/";

/// The header of the file may be that long, beside the tensors.
const HEADER: u64 = 1 << 24;

type Metadata = BTreeMap<String, String>;

/// Every tensor of the state under its name in the file.
fn tensors(state: &State) -> Result<Vec<(String, Tensor)>> {
    let mut all = Vec::new();
    for player in &state.players {
        all.extend(player.learner.tensors()?.into_iter().map(|(name, t)| (format!("{}/{name}", player.role), t)));
    }
    all.extend(state.of_game().into_iter().map(|(name, t)| (format!("{OF_GAME}{name}"), t)));
    Ok(all)
}

/// How far it is, by the names in the file.
fn counts(state: &State) -> impl Iterator<Item = (String, u64)> {
    let clock = state.clock;
    let clock = [("clock.images", clock.images), ("clock.latents", clock.latents), ("clock.steps", clock.steps)];
    let players = state.players.iter().map(|player| (format!("{}.steps", player.role), player.learner.steps()));
    clock.into_iter().map(|(name, count)| (name.to_owned(), count)).chain(players)
}

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
    let tensors = tensors(state)?;
    let contents = files::Contents::new(tensors.iter().map(|(name, t)| (name.clone(), t)))?;
    if let Some(name) = contents.not_finite() {
        return Err(Error::diverged(state.clock.images, format!("{name} holds numbers that are not finite")));
    }
    let mut metadata = Metadata::from([
        ("kiln.checkpoint".to_owned(), FORMAT.to_owned()),
        ("kiln.version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        ("recipe".to_owned(), state.recipe.to_toml()?),
        ("seed".to_owned(), state.recipe.seed.to_string()),
        ("tick".to_owned(), state.tick.averages()),
    ]);
    metadata.extend(data(of, &state.recipe)?.into_iter().map(|(name, value)| (name.to_owned(), value)));
    metadata.extend(counts(state).map(|(name, count)| (name, count.to_string())));
    if let Some(found) = state.evaluation() {
        metadata.insert("evaluated".to_owned(), found.numbers());
    }
    metadata.extend(contents.hashes().map(|(name, hash)| (format!("sha256/{name}"), hash)));
    metadata.insert("sha256".to_owned(), hash_of(&metadata));
    let bytes = contents.file(&metadata)?;
    // A large state is there twice, and not a third time when it is read back.
    drop(contents);
    files::write_atomically(path, &bytes)?;
    if files::read(path, bytes.len() as u64)? != bytes {
        return Err(Error::Damaged { path: path.to_owned(), what: "it does not hold what was written".into() });
    }
    Ok(())
}

/// SHA-256 of metadata: of each key and value with their lengths.
fn hash_of(metadata: &Metadata) -> String {
    let entries = metadata.iter().filter(|(key, _)| *key != "sha256");
    let text: String = entries.map(|(k, v)| format!("{} {k} {} {v}\n", k.len(), v.len())).collect();
    files::sha256(text.as_bytes())
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
    let damaged = |what: String| Error::Damaged { path: path.to_owned(), what };
    let mut state = State::new(recipe, of, device)?;
    let expected = tensors(&state)?;
    let size: usize = expected.iter().map(|(_, t)| t.elem_count() * t.dtype().size_in_bytes()).sum();
    let bytes = files::read(path, size as u64 + HEADER).map_err(|error| match error {
        // One that is too long, or that the disk does not give, is as good as one with other bytes.
        Error::Io { source, .. } if !matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {
            damaged(source.to_string())
        }
        error => error,
    })?;
    let file = SafeTensors::deserialize(&bytes).map_err(|e| damaged(e.to_string()))?;
    let metadata = metadata(&bytes).map_err(damaged)?;
    let get = |key: &str| metadata.get(key).ok_or_else(|| damaged(format!("it has no metadata `{key}`")));
    if metadata.get("sha256").is_some_and(|hash| *hash != hash_of(&metadata)) {
        return Err(damaged("its description does not have its hash".into()));
    }
    known(path, &metadata)?;
    get("sha256")?;
    for (name, view) in file.iter() {
        let hash = files::tensor_sha256(view.dtype(), view.shape(), view.data());
        if get(&format!("sha256/{name}"))? != &hash {
            return Err(damaged(format!("{name} does not have its hash")));
        }
        if !files::is_finite(view.dtype(), view.data()) {
            return Err(damaged(format!("{name} holds numbers that are not finite")));
        }
    }

    let recorded = Recipe::parse(get("recipe")?, &path.display().to_string(), &[])?;
    let changes = recorded.changes(&state.recipe).map_err(&fail)?;
    for (key, now) in data(of, &state.recipe)? {
        let then = get(key)?;
        // The name may change with the folder; what is in it must not.
        if key != "data.name" && *then != now {
            let what = format!(
                "was learned from other data: {key} is {then} in the checkpoint and {now} in `{}`; give the data it began \
                 with (`{}`) with --data, or begin a new run",
                of.name(),
                get("data.name")?
            );
            return Err(fail(what));
        }
    }

    // What a game keeps begins anew with a penalty that a run did not begin with, and ends with one that it gave up.
    let names = file.names();
    let expected: Vec<_> =
        expected.into_iter().filter(|(name, _)| names.contains(&name.as_str()) || !name.starts_with(OF_GAME)).collect();
    let known = |name: &str| expected.iter().any(|(expected, _)| expected == name);
    let found = names.iter().filter(|name| !name.starts_with(OF_GAME) || known(name)).count();
    if expected.len() != found {
        return Err(damaged(format!("it holds {found} tensors, the recipe has {}", expected.len())));
    }
    for (name, tensor) in &expected {
        let found = files::read_tensor(&file, name).map_err(|e| damaged(e.to_string()))?;
        if found.dtype() != tensor.dtype() || found.dims() != tensor.dims() {
            let (dims, dtype) = (tensor.dims(), tensor.dtype());
            let found = format!("{:?} {:?}", found.dtype(), found.dims());
            return Err(damaged(format!("{name} is {found}, the recipe has {dtype:?} {dims:?}")));
        }
        tensor.slice_set(&found.to_device(device)?, 0, 0)?;
    }
    let count = |key: &str| get(key)?.parse::<u64>().map_err(|e| damaged(format!("{key}: {e}")));
    let allowed = state.counts(count("clock.steps")?).ok_or_else(|| damaged("its steps are too many".into()))?;
    state.clock = allowed.0;
    for (player, steps) in state.players.iter_mut().zip(allowed.1) {
        player.learner.refresh()?;
        player.learner.set_steps(steps);
    }
    for (name, expected) in counts(&state) {
        let found = count(&name)?;
        if found != expected {
            let steps = state.clock.steps;
            return Err(damaged(format!("{name} is {found}, after {steps} steps it is {expected}")));
        }
    }
    state.tick = Tick::restore(get("tick")?).ok_or_else(|| damaged("its tick is none".into()))?;
    state.evaluated = match metadata.get("evaluated") {
        Some(text) => Some(restored(text).map_err(damaged)?),
        None => None,
    };
    Ok(Loaded { state, changes })
}

/// What the file at `path` says of the evaluation of its state; its tensors are not read.
///
/// # Errors
/// As [`load`], for what it says.
pub fn evaluated(path: &Path) -> Result<Option<Evaluated>> {
    let damaged = |what: String| Error::Damaged { path: path.to_owned(), what };
    let metadata = description(path)?;
    if metadata.get("sha256") != Some(&hash_of(&metadata)) {
        return Err(damaged("its description does not have its hash".into()));
    }
    metadata.get("evaluated").map(|text| restored(text).map_err(damaged)).transpose()
}

/// Whether this trainer reads the format of the file at `path`; its tensors are not read.
///
/// # Errors
/// [`Error::Damaged`], and another format, with what reads it.
pub fn check_format(path: &Path) -> Result<()> {
    known(path, &description(path)?)
}

fn known(path: &Path, metadata: &Metadata) -> Result<()> {
    let Some(format) = metadata.get("kiln.checkpoint") else {
        let what = "it has no metadata `kiln.checkpoint`".into();
        return Err(Error::Damaged { path: path.to_owned(), what });
    };
    if format == FORMAT {
        return Ok(());
    }
    let (version, own) = (metadata.get("kiln.version").map_or("unknown", String::as_str), env!("CARGO_PKG_VERSION"));
    let what = format!(
        "has format {format} (written by version {version}), this trainer, version {own}, reads {FORMAT}; {OLDER}"
    );
    Err(Error::Run { path: path.to_owned(), what })
}

/// The metadata of the file at `path`, as it is.
fn description(path: &Path) -> Result<Metadata> {
    let damaged = |what: String| Error::Damaged { path: path.to_owned(), what };
    let mut file = files::open(path)?;
    let mut read = |bytes: &mut [u8]| file.read_exact(bytes).map_err(|e| damaged(e.to_string()));
    let mut length = [0; 8];
    read(&mut length)?;
    let length = u64::from_le_bytes(length);
    if length > HEADER {
        return Err(damaged(format!("its header has {length} bytes, allowed are {HEADER}")));
    }
    let mut text = vec![0; length as usize];
    read(&mut text)?;
    let header: Header = serde_json::from_slice(&text).map_err(|e| damaged(e.to_string()))?;
    Ok(described(&header))
}

/// The evaluation in the metadata of a file, or what is wrong with it.
fn restored(text: &str) -> std::result::Result<Evaluated, String> {
    Evaluated::restore(text).ok_or_else(|| "its evaluation is none".into())
}

/// The metadata of a safetensors file, or what is wrong with it.
fn metadata(bytes: &[u8]) -> std::result::Result<Metadata, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    Ok(described(&header))
}

fn described(header: &Header) -> Metadata {
    header.metadata().clone().unwrap_or_default().into_iter().collect()
}

#[cfg(test)]
mod tests;
