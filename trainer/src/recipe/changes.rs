//! What a run may change on its way.

use super::Recipe;
use crate::error::Result;
use serde::Serialize;
use std::collections::BTreeMap;

/// The keys, and beginnings of keys, that may change: how a run learns, how long, and what is kept of it. Anything else would
/// make another run of it.
const FREE: [&str; 20] = [
    "data.source",
    "data.labels",
    "data.bad_files",
    "objective.penalties",
    "remedies.label_smoothing",
    "remedies.instance_noise",
    "remedies.input_dropout",
    "remedies.top_k",
    "remedies.weight_clip",
    "remedies.gap_aware",
    "optimizer.",
    "training.kimg",
    "training.ema_half_life_kimg",
    "training.tick_kimg",
    "training.checkpoint_kimg",
    "training.keep",
    "training.on_alarm",
    "training.evaluate_kimg",
    "training.evaluate_samples",
    "export.",
];

/// A value of a recipe that changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The dotted key.
    pub key: String,
    /// What it was, as TOML; nothing if it was not there.
    pub from: Option<String>,
    /// What it is.
    pub to: Option<String>,
}

impl Recipe {
    /// What this recipe has that `then` had not, or otherwise.
    ///
    /// # Errors
    /// A path of the data that is not UTF-8.
    pub fn differences(&self, then: &Self) -> Result<Vec<Change>> {
        let flat = |recipe: &Self| -> Result<BTreeMap<String, String>> {
            let table = toml::Table::try_from(recipe).map_err(candle_core::Error::wrap)?;
            let mut all = BTreeMap::new();
            flatten("", &table, &mut all);
            Ok(all)
        };
        let (then, now) = (flat(then)?, flat(self)?);
        let keys: std::collections::BTreeSet<&String> = then.keys().chain(now.keys()).collect();
        let changed = keys.into_iter().filter(|key| then.get(*key) != now.get(*key)).map(|key| Change {
            key: key.clone(),
            from: then.get(key).cloned(),
            to: now.get(key).cloned(),
        });
        Ok(changed.collect())
    }

    /// What `now`, with which a run of this recipe is to go on, has changed.
    ///
    /// # Errors
    /// In words, a change that would make another run of it.
    pub fn changes(&self, now: &Self) -> std::result::Result<Vec<Change>, String> {
        let changed = now.differences(self).map_err(|e| e.to_string())?;
        let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "not there".into());
        if let Some(Change { key, from, to }) = changed.iter().find(|change| !is_free(&change.key)) {
            return Err(format!(
                "belongs to another recipe: {key} is {} in it and {} here; on the way, --set can change {}",
                shown(from),
                shown(to),
                FREE.map(|key| if key.ends_with('.') { format!("{key}*") } else { key.to_owned() })[1..].join(", ")
            ));
        }
        for (role, then, now) in [
            ("generator", &self.optimizer.generator, &now.optimizer.generator),
            ("discriminator", &self.optimizer.discriminator, &now.optimizer.discriminator),
        ] {
            let allowed = then.successors();
            if !allowed.contains(&now.kind()) {
                return Err(format!(
                    "has moments that the optimiser here cannot go on with: optimizer.{role}.kind is {:?} in it and {:?} here, \
                     allowed is {}",
                    then.kind(),
                    now.kind(),
                    allowed.join(" or ")
                ));
            }
        }
        Ok(changed.into_iter().filter(|change| change.key != "data.source").collect())
    }
}

fn is_free(key: &str) -> bool {
    FREE.iter().any(|free| key == *free || free.ends_with('.') && key.starts_with(free) || nested(key, free))
}

/// Whether `key` is a part of what has the key `free`, as the parts of a schedule are.
fn nested(key: &str, free: &str) -> bool {
    key.strip_prefix(free).is_some_and(|rest| rest.starts_with('.'))
}

fn flatten(prefix: &str, table: &toml::Table, all: &mut BTreeMap<String, String>) {
    for (key, value) in table {
        let key = if prefix.is_empty() { key.clone() } else { format!("{prefix}.{key}") };
        match value {
            toml::Value::Table(inner) => flatten(&key, inner, all),
            value => drop(all.insert(key, value.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn changed(key: &str, value: impl Into<toml::Value>) -> std::result::Result<Vec<Change>, String> {
        let then = Recipe::load("digits", &[]).expect("a recipe");
        then.changes(&Recipe::load("digits", &[(key.to_owned(), value.into())]).expect("a recipe"))
    }

    #[test]
    fn how_a_run_learns_and_how_long_may_change() {
        for (key, value, expected) in [
            ("training.kimg", 7.0.into(), "7.0"),
            ("optimizer.generator.lr", 1e-4.into(), "0.0001"),
            ("optimizer.discriminator_clip", toml::Table::from_iter([("norm".to_owned(), 1.0.into())]).into(), "1.0"),
            ("training.keep", toml::Value::from(5), "5"),
            ("export.precision", "f32".into(), "\"f32\""),
        ] {
            let found = changed(key, value).expect("allowed");
            assert!(found.len() == 1 && found[0].key.starts_with(key), "{found:?}");
            assert_eq!(found[0].to.as_deref(), Some(expected));
        }
        assert_eq!(changed("data.source", "elsewhere"), Ok(vec![]));
        let ramp = [("shape", "cosine".into()), ("from", 1e-3.into()), ("to", 1e-4.into()), ("kimg", 10.0.into())];
        let ramp = toml::Table::from_iter(ramp.map(|(k, v): (&str, toml::Value)| (k.to_owned(), v)));
        assert!(changed("optimizer.generator.lr", ramp).is_ok_and(|found| found.len() > 1));
    }

    #[test]
    fn what_would_be_another_run_is_refused() {
        for (key, value) in [
            ("seed", toml::Value::from(1)),
            ("generator.width", 16.into()),
            ("discriminator.width", 16.into()),
            ("training.batch", 32.into()),
            ("objective.loss", "minimax".into()),
        ] {
            let what = changed(key, value).expect_err("another run");
            assert!(what.contains("another recipe") && what.contains(key) && what.contains("optimizer.*"), "{what}");
        }
        assert!(!is_free("training.kimgs") && !is_free("optimizers.x"));
    }

    /// Moments of one kind of optimiser are no moments of another, even where they are as many.
    #[test]
    fn another_optimiser_goes_on_only_where_moments_mean_the_same() {
        const KINDS: [&str; 5] = ["adam", "adamw", "rmsprop", "adagrad", "sgd"];
        let with = |kind: &str| {
            let optimizer = toml::Table::from_iter([("kind".to_owned(), kind.into())]);
            Recipe::load("digits", &[("optimizer.discriminator".to_owned(), optimizer.into())]).expect("a recipe")
        };
        for (then, now) in KINDS.iter().flat_map(|then| KINDS.map(|now| (*then, now))) {
            let found = with(then).changes(&with(now));
            if then == now || then.starts_with("adam") && now.starts_with("adam") {
                assert!(found.is_ok(), "{then}, {now}: {found:?}");
                continue;
            }
            let what = found.expect_err("other moments");
            let allowed = if then.starts_with("adam") { "adam or adamw" } else { then };
            let words =
                format!("optimizer.discriminator.kind is {then:?} in it and {now:?} here, allowed is {allowed}");
            assert!(what.contains("moments") && what.ends_with(&words), "{what}");
        }
    }
}
