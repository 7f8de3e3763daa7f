//! Recipes at random from what recipes can say of the game and its networks: each trains and is sampled, or is refused in words
//! before anything is computed.

use super::*;
use crate::recipe::Override;

/// Keys with values that they may have beside the one in `digits`. A shape that no check foresees would show as an error of the
/// tensors, or as a panic.
const SETTINGS: [(&str, &[&str]); 33] = [
    ("conditional", &["true"]),
    ("data.flip", &["true"]),
    ("data.balance", &["0.5"]),
    ("generator.depth", &["1", "3"]),
    ("generator.norm", &["'virtual'", "'none'"]),
    ("generator.spectral_norm", &["true"]),
    ("discriminator.depth", &["1", "3"]),
    ("discriminator.batch_norm", &["true"]),
    ("discriminator.spectral_norm", &["true"]),
    ("discriminator.minibatch", &["'deviation'", "'discrimination'"]),
    ("discriminator.outputs", &["4"]),
    ("discriminator.conditioning", &["'classifier'"]),
    ("objective.loss", &[]),
    ("objective.penalties", &[]),
    ("objective.class_balance", &["0.5"]),
    ("remedies.label_smoothing", &["0.1"]),
    ("remedies.instance_noise", &["0.1"]),
    ("remedies.input_dropout", &["0.2"]),
    ("remedies.packing", &["2", "3"]),
    ("remedies.multi_scale", &["true"]),
    ("remedies.top_k", &["0.5"]),
    ("remedies.weight_clip", &["0.05"]),
    ("remedies.gap_aware", &["true"]),
    ("remedies.historical_averaging", &["0.01"]),
    ("optimizer.generator", &["{ kind = 'adamw', lr = 1e-3 }", "{ kind = 'adagrad', lr = 1e-3 }"]),
    ("optimizer.discriminator", &["{ kind = 'rmsprop', lr = 1e-4 }", "{ kind = 'sgd', lr = 1e-3, momentum = 0.5 }"]),
    ("optimizer.generator_clip", &["{ norm = 1.0 }"]),
    ("optimizer.discriminator_clip", &["{ value = 0.1 }"]),
    ("training.batch", &["4", "12"]),
    ("training.micro_batches", &["2"]),
    ("training.stages", &["'one'"]),
    ("training.critic_steps", &["2"]),
    ("training.generator_steps", &["2"]),
];

/// The values that this recipe has: each setting is in one of five, losses and penalties are in every other one.
fn drawn(number: u64) -> Vec<Override> {
    let losses: Vec<toml::Value> = Loss::ALL.iter().map(|loss| toml::Value::try_from(loss).expect("a name")).collect();
    let mut all: Vec<Override> =
        [("generator.width", 4), ("generator.latent", 8), ("discriminator.width", 4), ("training.batch", 8)]
            .map(|(key, value)| (key.to_owned(), toml::Value::from(value)))
            .into();
    let draws = crate::random::uniform(7, number, 1, 3 * SETTINGS.len());
    for ((key, values), draw) in SETTINGS.iter().zip(draws.chunks_exact(3)) {
        let of = |count: usize, which: usize| (f64::from(draw[which]) * count as f64) as usize;
        let value = match *key {
            "objective.loss" if draw[0] < 0.5 => losses[of(losses.len(), 1)].clone(),
            "objective.penalties" if draw[0] < 0.75 => {
                // None, one, or two of them.
                let kinds = [of(Kind::ALL.len(), 1), of(Kind::ALL.len(), 2)].map(|place| Kind::ALL[place]);
                let every = 1 + number % 2;
                let penalty = |kind| toml::Value::try_from(Penalty { kind, weight: 0.5.into(), every });
                let penalties = kinds.into_iter().take(number as usize % 3).map(|kind| penalty(kind).expect("TOML"));
                penalties.collect::<Vec<_>>().into()
            }
            _ if draw[0] < 0.2 && !values.is_empty() => {
                format!("v = {}", values[of(values.len(), 1)]).parse::<toml::Table>().expect("TOML")["v"].clone()
            }
            _ => continue,
        };
        all.push(((*key).to_owned(), value));
    }
    all
}

/// How many recipes are drawn; `KILN_CASES` says otherwise.
const CASES: u64 = 400;

#[test]
fn any_recipe_trains_or_is_refused_in_words() -> Result<()> {
    let data = mnist()?;
    let cases = std::env::var("KILN_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(CASES);
    let (mut trained, mut of_losses) = (0, std::collections::BTreeSet::new());
    for number in 0..cases {
        let overrides = drawn(number);
        let recipe = match Recipe::load("digits", &overrides) {
            Ok(recipe) => recipe,
            Err(error) => {
                let said = error.to_string();
                assert!(said.contains("allowed"), "{number}, {overrides:?}: {said}");
                continue;
            }
        };
        let loss = recipe.objective.loss;
        let mut state = match State::new(recipe, &data, &crate::ops::testing::device()) {
            Ok(state) => state,
            Err(error) => {
                let said = error.to_string();
                assert!(
                    matches!(error, Error::Recipe { .. }) && said.contains("allowed"),
                    "{number}, {overrides:?}: {said}"
                );
                continue;
            }
        };
        let mut batches = batches(&state, &data);
        let mut learn = || -> Result<()> {
            let steps = (0..2).map(|_| step(&mut state, &mut batches)).collect::<Result<Vec<_>>>()?;
            state.read(&steps)?;
            let images = state.images(&state.sampler(16)?, &state.inputs("test", 0, 3)?)?;
            assert_eq!(images.dims(), [3, 28, 28, 1]);
            assert!(images.abs()?.max_all()?.to_scalar::<f32>()? <= 1., "no images");
            Ok(())
        };
        learn().unwrap_or_else(|error| panic!("{number}, {overrides:?}: {error}"));
        trained += 1;
        of_losses.insert(format!("{loss:?}"));
    }
    println!("{trained} of {cases} recipes trained, with {of_losses:?}");
    assert!(trained * 5 > cases && of_losses.len() > Loss::ALL.len() / 2, "{trained} of {cases}: {of_losses:?}");
    Ok(())
}
