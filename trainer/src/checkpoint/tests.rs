use super::*;
use crate::data::Batches;
use crate::files;
use crate::net::dcgan::{Conditioning, Minibatch, Norm};
use crate::objective::{Kind, Loss, Penalty};
use crate::ops::testing::device;
use crate::recipe::{Arithmetic, Discriminator, Generator, Images};
use crate::state::tests::{batches, figure, mnist, small, step, with_loss};
use crate::state::{Evaluated, State};
use candle_core::Tensor;
use std::sync::Arc;

#[test]
fn a_restored_state_goes_on_to_the_same_bytes() -> Result<()> {
    resumes(Arithmetic::F32, |_| ())?;
    for conditioning in [Conditioning::Projection, Conditioning::Classifier] {
        resumes(Arithmetic::F32, |recipe| {
            recipe.conditional = true;
            (recipe.data.flip, recipe.data.balance, recipe.objective.class_balance) = (true, 0.5, 0.5);
            let Discriminator::Dcgan(discriminator) = &mut recipe.discriminator;
            discriminator.conditioning = conditioning;
        })?;
    }
    for (loss, penalties, remedies) in [
        ("relativistic-pairing", "r1 r2", "historical_averaging = 0.1\ninstance_noise = 0.1\ngap_aware = true"),
        ("non-saturating", "lecam consistency", "label_smoothing = 0.1\ninput_dropout = 0.2\ntop_k = 0.5"),
        ("least-squares", "dragan", "packing = 2\nmulti_scale = true"),
        ("wasserstein", "wgan-gp", ""),
        ("mmd-rbf", "", "weight_clip = 0.5"),
        ("feature-matching", "", ""),
    ] {
        resumes(Arithmetic::F32, |recipe| {
            let loss = toml::Value::from(loss).try_into().expect("a loss");
            let kinds = penalties.split_whitespace().map(|kind| toml::Value::from(kind).try_into().expect("a kind"));
            *recipe = with_loss(recipe.clone(), loss);
            let every = if loss == Loss::Wasserstein { 2 } else { 1 };
            recipe.objective.penalties = kinds.map(|kind| Penalty { kind, weight: 0.5.into(), every }).collect();
            recipe.remedies = toml::from_str(remedies).expect("remedies");
            (recipe.training.critic_steps, recipe.training.generator_steps) = (2, 3);
        })?;
    }
    resumes(Arithmetic::F32, |recipe| {
        let (Generator::Dcgan(generator), Discriminator::Dcgan(discriminator)) =
            (&mut recipe.generator, &mut recipe.discriminator)
        else {
            panic!("two DCGANs");
        };
        (generator.spectral_norm, generator.norm) = (true, Norm::Virtual);
        (discriminator.spectral_norm, discriminator.minibatch) = (true, Some(Minibatch::Discrimination));
    })?;
    // Half precision needs a GPU.
    if device().is_cpu() { Ok(()) } else { resumes(Arithmetic::F16, |_| ()) }
}

/// A penalty for which the game keeps something may come and go on the way of a run.
#[test]
fn what_a_game_keeps_begins_and_ends_with_its_penalty() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let (path, data) = (folder.path().join("checkpoint"), mnist()?);
    let recipe = |penalised: bool| {
        let mut recipe = with_loss(small("penalties"), Loss::NonSaturating);
        let lecam = Penalty { kind: Kind::Lecam, weight: 0.1.into(), every: 1 };
        recipe.objective.penalties = if penalised { vec![lecam] } else { Vec::new() };
        recipe
    };
    for begins_with in [false, true] {
        let mut state = State::new(recipe(begins_with), &data, &device())?;
        let mut of_first = batches(&state, &data);
        step(&mut state, &mut of_first)?;
        save(&state, &data, &path)?;
        let Loaded { mut state, changes } = load(&path, recipe(!begins_with), &data, &device())?;
        assert_eq!(changes.len(), 1, "{changes:?}");
        let mut of_second = batches(&state, &data);
        let found = step(&mut state, &mut of_second)?;
        let found = &state.read(&[found])?[0];
        // Averages begin with the first batch that there is a penalty for, wherever the run is.
        let averages: Vec<_> = state.game.tensors().into_iter().filter(|(name, _)| name == "logit_averages").collect();
        assert_eq!(averages.len(), usize::from(!begins_with));
        for (_, averages) in averages {
            let expected = ["real_logit", "fake_logit"].map(|name| figure(found, name));
            assert_eq!(averages.to_vec1::<f32>()?, expected);
        }
    }
    Ok(())
}

/// The same pixels with other classes are other data, where classes are looked at.
#[test]
fn other_labels_are_other_data_where_classes_count() -> Result<()> {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("checkpoint");
    let data = mnist()?;
    let mut labels = data.labels().expect("labels").clone();
    labels.values[7] ^= 1;
    let other = (*data).clone().with_labels(labels);
    for conditional in [false, true] {
        let mut recipe = small("labels");
        recipe.conditional = conditional;
        save(&State::new(recipe.clone(), &data, &device())?, &data, &path)?;
        let loaded = load(&path, recipe, &other, &device());
        match conditional {
            false => assert!(loaded.is_ok()),
            true => {
                let error = loaded.expect_err("other labels").to_string();
                assert!(error.contains("other data") && error.contains("data.labels"), "{error}");
            }
        }
    }
    Ok(())
}

/// A scale from which some steps are skipped
fn scale_up(state: &State) -> Result<()> {
    for scale in state.players.iter().filter_map(|player| player.learner.loss_scale()) {
        scale.slice_set(&Tensor::new(&[1_048_576f32], &device())?, 0, 0)?;
    }
    Ok(())
}

/// A step, whose figures the tick takes up.
fn step_and_read(state: &mut State, batches: &mut Batches) -> Result<()> {
    let found = step(state, batches)?;
    for figures in state.read(&[found])? {
        state.tick.add(figures);
    }
    Ok(())
}

fn resumes(precision: Arithmetic, change: impl Fn(&mut Recipe)) -> Result<()> {
    let small = |name: &str| {
        let mut recipe = small(name);
        recipe.training.precision = precision;
        change(&mut recipe);
        recipe
    };
    let folder = tempfile::tempdir().expect("a folder");
    let (half, whole, resumed) =
        (folder.path().join("half"), folder.path().join("whole"), folder.path().join("resumed"));
    let data = mnist()?;
    let mut state = State::new(small("resumes"), &data, &device())?;
    let mut batches = batches(&state, &data);
    for step in 0..8 {
        if step == 4 {
            scale_up(&state)?;
            save(&state, &data, &half)?;
        }
        step_and_read(&mut state, &mut batches)?;
    }
    let found = Evaluated { images: state.clock.images, frechet_distance: 1. / 3., floor: Some(0.1), samples: 5 };
    state.evaluated = Some(found);
    save(&state, &data, &whole)?;
    let scales = state.loss_scales()?;
    assert_eq!(scales.len(), if precision == Arithmetic::F16 { 2 } else { 0 });
    assert!(scales.iter().all(|(_, found)| found.skipped > 4), "{scales:?}");
    let mut recipe = small("resumes");
    recipe.training.kimg = Images(7000);
    let Loaded { mut state, changes } = load(&half, recipe, &data, &device())?;
    assert_eq!(changes.iter().map(|change| change.key.as_str()).collect::<Vec<_>>(), ["training.kimg"]);
    assert_eq!((state.clock.images, state.clock.steps), (8 * 4 * state.recipe.training.critic_steps as u64, 4));
    assert_eq!(state.evaluated, None);
    let mut batches = self::batches(&state, &data);
    for _ in 0..4 {
        step_and_read(&mut state, &mut batches)?;
    }
    state.recipe.training.kimg = small("resumes").training.kimg;
    state.evaluated = Some(found);
    save(&state, &data, &resumed)?;
    assert_eq!(state.loss_scales()?, scales);
    assert!(std::fs::read(&whole).expect("reads") == std::fs::read(&resumed).expect("reads"), "bytes differ");
    assert_eq!(load(&whole, small("resumes"), &data, &device())?.state.evaluated, Some(found));
    Ok(())
}

/// A checkpoint of a fresh state, its bytes, and how it is read.
struct Saved {
    folder: tempfile::TempDir,
    data: Arc<Dataset>,
    bytes: Vec<u8>,
}

impl Saved {
    fn new() -> Result<Self> {
        let (folder, data) = (tempfile::tempdir().expect("a folder"), mnist()?);
        let path = folder.path().join("checkpoint");
        save(&State::new(small("a"), &data, &device())?, &data, &path)?;
        let bytes = std::fs::read(&path).expect("reads");
        Ok(Self { folder, data, bytes })
    }

    fn load(&self, bytes: &[u8], recipe: Recipe) -> Result<Loaded> {
        let path = self.folder.path().join("checkpoint");
        std::fs::write(&path, bytes).expect("writes");
        load(&path, recipe, &self.data, &device())
    }

    /// What a file with other metadata and tensors says, all its hashes right.
    fn forged(&self, change: impl FnOnce(&mut Metadata, &mut Vec<(String, Tensor)>)) -> Error {
        let state = self.load(&self.bytes, small("a")).expect("it is whole").state;
        let mut tensors = playing::tensors(&state.players, &*state.game).expect("tensors");
        let mut metadata = sealed::metadata(&self.bytes).expect("metadata");
        change(&mut metadata, &mut tensors);
        let contents = files::Contents::new(tensors.iter().map(|(name, t)| (name.clone(), t))).expect("tensors");
        metadata.retain(|key, _| !key.starts_with("sha256"));
        metadata.extend(contents.hashes().map(|(name, hash)| (format!("sha256/{name}"), hash)));
        metadata.insert("sha256".into(), hash_of(&metadata));
        let bytes = contents.file(&metadata).expect("a file");
        self.load(&bytes, small("a")).expect_err("must be refused")
    }
}

#[test]
fn other_recipes_data_and_versions_are_told_apart_from_damage() -> Result<()> {
    let saved = Saved::new()?;
    let said = |recipe: Recipe| match saved.load(&saved.bytes, recipe).expect_err("must be refused") {
        Error::Run { what, .. } => what,
        error => panic!("{error:?}"),
    };
    let mut other = small("a");
    other.seed = 6;
    assert!(said(other).contains("another recipe: seed is 5 in it and 6 here"));

    let pixels = |value: u8| vec![value; 60_000 * 784];
    let same_shape = Arc::new(Dataset::new("other", saved.data.shape(), pixels(1)));
    let path = saved.folder.path().join("checkpoint");
    let error = load(&path, small("a"), &same_shape, &device()).expect_err("other data").to_string();
    assert!(error.contains("other data") && error.contains("data.sha256") && error.contains("--data"), "{error}");
    let fewer = Arc::new(Dataset::new("other", saved.data.shape(), pixels(1)[784..].to_vec()));
    let error = load(&path, small("a"), &fewer, &device()).expect_err("other data").to_string();
    assert!(error.contains("other data") && !error.contains("damaged"), "{error}");

    let old = saved.forged(|metadata, _| drop(metadata.insert("kiln.checkpoint".into(), "4".into()))).to_string();
    assert!(old.contains("has format 4 (written by version 0.1.0)") && old.contains("reads 5"), "{old}");
    Ok(())
}

#[test]
fn counters_and_numbers_that_cannot_be_are_damage() -> Result<()> {
    let saved = Saved::new()?;
    let damage = |error: Error| match error {
        Error::Damaged { what, .. } => what,
        error => panic!("{error:?}"),
    };
    for (key, value, expected) in [
        ("clock.images", "18446744073709551615", "clock.images is 18446744073709551615, after 0 steps it is 0"),
        ("clock.images", "8", "after 0 steps it is 0"),
        ("clock.latents", "1", "clock.latents"),
        ("clock.steps", "18446744073709551615", "too many"),
        ("clock.steps", "1", "after 1 steps it is 8"),
        ("generator.steps", "1", "generator.steps is 1"),
        ("discriminator.steps", "-1", "discriminator.steps"),
        ("tick", "loss", "tick"),
        ("evaluated", "{}", "evaluation"),
    ] {
        let said = damage(saved.forged(|metadata, _| drop(metadata.insert(key.into(), value.into()))));
        assert!(said.contains(expected), "{key} = {value}: {said}");
    }
    for value in [f64::NAN, f64::INFINITY] {
        let said = damage(saved.forged(|_, tensors| tensors[3].1 = tensors[3].1.affine(0., value).expect("a tensor")));
        assert!(said.contains("generator/") && said.contains("not finite"), "{said}");
    }
    let said = damage(saved.forged(|_, tensors| drop(tensors.pop())));
    assert!(said.contains("tensors, the run has"), "{said}");
    let said = damage(saved.forged(|_, tensors| tensors[0].1 = tensors[0].1.flatten_all().expect("flat")));
    assert!(said.contains("the run has"), "{said}");
    Ok(())
}

/// Cut anywhere, and any bit: it is damage, and where a tensor was hit, it is named.
#[test]
fn every_damage_is_noticed() -> Result<()> {
    let saved = Saved::new()?;
    let whole = &saved.bytes;
    let header = 8 + u64::from_le_bytes(whole[..8].try_into().expect("8 bytes")) as usize;
    let damage = |bytes: &[u8], what: &str| match saved.load(bytes, small("a")) {
        Err(Error::Damaged { what, .. }) => what,
        other => panic!("{what}: {other:?}"),
    };
    for end in [0, 7, 20, header, whole.len() / 2, whole.len() - 1] {
        damage(&whole[..end], "cut");
    }
    damage(&[whole, &[0][..]].concat(), "longer");
    damage(&[whole, &vec![0; sealed::HEADER as usize][..]].concat(), "longer than any");
    let flip = |at: usize, bit: u8| {
        let mut bytes = whole.clone();
        bytes[at] ^= 1 << bit;
        bytes
    };
    for at in (0..header).step_by(101).chain(0..8) {
        damage(&flip(at, 0), &format!("byte {at} of the header"));
    }
    let places = crate::random::permutation(1, 0, (whole.len() - header) as u32);
    for (at, bit) in places.into_iter().take(40).map(|at| (header + at as usize, (at % 8) as u8)) {
        let said = damage(&flip(at, bit), &format!("bit {bit} of byte {at}"));
        assert!(said.contains("/") && said.contains("does not have its hash"), "{said}");
    }
    Ok(())
}

#[test]
fn a_state_that_is_no_number_is_not_written() -> Result<()> {
    let (folder, data) = (tempfile::tempdir().expect("a folder"), mnist()?);
    let path = folder.path().join("checkpoint");
    let state = State::new(small("nan"), &data, &device())?;
    let (_, moment) = playing::tensors(&state.players, &*state.game)?
        .into_iter()
        .find(|(name, _)| name.ends_with(".moment2"))
        .expect("a moment");
    moment.slice_set(&moment.affine(0., f64::INFINITY)?, 0, 0)?;
    let error = save(&state, &data, &path).expect_err("must not be written").to_string();
    assert!(error.contains("diverged") && error.contains("moment2") && error.contains("not finite"), "{error}");
    assert_eq!(std::fs::read_dir(folder.path()).expect("lists").count(), 0);
    Ok(())
}

/// A link to what never ends is refused before it is read.
#[test]
#[cfg(unix)]
fn what_is_no_file_is_not_read() -> Result<()> {
    let (folder, data) = (tempfile::tempdir().expect("a folder"), mnist()?);
    let path = folder.path().join("checkpoint");
    std::os::unix::fs::symlink("/dev/zero", &path).expect("links");
    let error = load(&path, small("a"), &data, &device()).expect_err("must be refused").to_string();
    assert!(error.contains("it is a device"), "{error}");
    Ok(())
}
