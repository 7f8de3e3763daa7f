//! What is tried against which trouble.

use crate::error::Result;
use crate::objective::{Kind, Penalty};
use crate::optim::Clip;
use crate::recipe::{Discriminator, Generator, Recipe, Stages};

/// A remedy.
#[derive(Debug)]
pub struct Remedy {
    /// What the log calls it.
    pub name: &'static str,
    /// The troubles it is tried against, by the names of the alarm.
    pub against: &'static [&'static str],
    /// Whether the run begins anew with it: else it goes on from a checkpoint.
    pub anew: bool,
    change: fn(&mut Recipe),
}

const ALL: &[&str] =
    &["collapse", "discriminator_won", "discriminator_gave_up", "divergence", "oscillation", "memorisation"];

/// All of them, in the order in which they are tried.
pub const REMEDIES: [Remedy; 7] = [
    Remedy {
        name: "a quarter of both rates",
        against: &["collapse", "divergence", "oscillation"],
        anew: false,
        change: |recipe| {
            recipe.optimizer.generator.scale_rate(0.25);
            recipe.optimizer.discriminator.scale_rate(0.25);
        },
    },
    Remedy {
        name: "R1 as the recipe digits has it",
        against: &["collapse", "discriminator_won", "oscillation"],
        anew: false,
        change: |recipe| {
            let Ok(known) = Recipe::load("digits", &[]) else { return };
            let penalties = &mut recipe.objective.penalties;
            penalties.retain(|penalty| known.objective.penalties.iter().all(|known| known.kind != penalty.kind));
            penalties.extend(known.objective.penalties);
        },
    },
    Remedy {
        name: "a quarter of the discriminator's rate",
        against: &["discriminator_won"],
        anew: false,
        change: |recipe| recipe.optimizer.discriminator.scale_rate(0.25),
    },
    Remedy {
        name: "a tenth of the penalties",
        against: &["discriminator_gave_up"],
        anew: false,
        change: |recipe| {
            for penalty in &mut recipe.objective.penalties {
                penalty.weight = penalty.weight.times(0.1);
            }
        },
    },
    Remedy {
        name: "a tenth of both rates, and gradients of norm 1 at most",
        against: &["divergence"],
        anew: false,
        change: |recipe| {
            recipe.optimizer.generator.scale_rate(0.1);
            recipe.optimizer.discriminator.scale_rate(0.1);
            recipe.optimizer.generator_clip = Some(Clip::Norm(1.));
            recipe.optimizer.discriminator_clip = Some(Clip::Norm(1.));
        },
    },
    Remedy {
        name: "LeCam of weight 0.1",
        against: &["memorisation"],
        anew: false,
        change: |recipe| {
            recipe.objective.penalties.retain(|penalty| penalty.kind != Kind::Lecam);
            recipe.objective.penalties.push(Penalty { kind: Kind::Lecam, weight: 0.1.into(), every: 1 });
        },
    },
    Remedy { name: "a sound objective, from the beginning", against: ALL, anew: true, change: sound },
];

/// The objective and the optimisers of the recipe `digits`, and a discriminator that is no narrower than the generator and
/// mixes no samples.
fn sound(recipe: &mut Recipe) {
    let Ok(known) = Recipe::load("digits", &[]) else { return };
    (recipe.objective.loss, recipe.objective.penalties) = (known.objective.loss, known.objective.penalties);
    (recipe.optimizer, recipe.remedies) = (known.optimizer, known.remedies);
    recipe.training.stages = Stages::Two;
    (recipe.training.critic_steps, recipe.training.generator_steps) = (1, 1);
    let Discriminator::Dcgan(discriminator) = &mut recipe.discriminator;
    (discriminator.batch_norm, discriminator.outputs, discriminator.minibatch) = (false, 1, None);
    let least = match &recipe.generator {
        Generator::Dcgan(generator) => generator.width,
        Generator::Dense(_) => 32,
    };
    discriminator.width = discriminator.width.max(least);
}

/// Those against a trouble of a run with this recipe, and the recipe with each of them. What it has already is none: a run that
/// is resumed or begun anew without a change comes to the same trouble.
pub fn of(trouble: &str, recipe: &Recipe) -> Vec<(&'static Remedy, Result<Recipe>)> {
    let against = REMEDIES.iter().filter(|remedy| remedy.against.contains(&trouble));
    let applied = against.map(|remedy| (remedy, remedy.applied(recipe)));
    applied.filter(|(_, changed)| changed.as_ref().ok() != Some(recipe)).collect()
}

impl Remedy {
    /// The recipe with the remedy.
    ///
    /// # Errors
    /// A combination that cannot work.
    pub fn applied(&self, recipe: &Recipe) -> Result<Recipe> {
        let mut changed = recipe.clone();
        (self.change)(&mut changed);
        Recipe::parse(&changed.to_toml()?, &changed.name, &[])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each can be had with a recipe of the zoo, and those that go on with a run are allowed to change it.
    #[test]
    fn remedies_can_be_had() -> Result<()> {
        let recipe = Recipe::load("digits", &[])?;
        for remedy in &REMEDIES {
            let changed = remedy.applied(&recipe)?;
            assert!(remedy.anew || recipe.changes(&changed).is_ok(), "{}", remedy.name);
            assert!(remedy.against.iter().all(|trouble| ALL.contains(trouble)), "{}", remedy.name);
        }
        assert!(ALL.iter().all(|trouble| !of(trouble, &recipe).is_empty()));
        // What mixes the samples of a batch goes with a penalty that needs them apart.
        let mixing =
            [("objective.penalties", toml::Value::Array(vec![])), ("discriminator.minibatch", "deviation".into())];
        let mixing = Recipe::load("digits", &mixing.map(|(key, value)| (key.to_owned(), value)))?;
        let sound = REMEDIES.iter().find(|remedy| remedy.anew).expect("one");
        assert!(sound.applied(&mixing).is_ok());
        Ok(())
    }

    #[test]
    fn what_a_recipe_has_already_does_not_race() -> Result<()> {
        let names = |recipe: &Recipe| of("collapse", recipe).iter().map(|(remedy, _)| remedy.name).collect::<Vec<_>>();
        let known = Recipe::load("digits", &[])?;
        let [rates, r1, anew] = [0, 1, 6].map(|i| REMEDIES[i].name);
        assert_eq!(names(&known), [rates]);
        let without = Recipe::load("digits", &[("objective.penalties".to_owned(), toml::Value::Array(vec![]))])?;
        assert_eq!(names(&without), [rates, r1, anew]);
        Ok(())
    }
}
