//! Recipes that leave some values to what the data and the machine are.

use super::{BUILT_IN, Checked, Data, Override, Recipe};
use crate::error::{Error, Result};
use crate::files;
use std::path::Path;

/// Bytes of the largest recipe that is read.
const LONGEST: u64 = 1_000_000;

/// A recipe in the making, of which values may be missing.
#[derive(Clone, Debug)]
pub struct Draft {
    origin: String,
    table: toml::Table,
}

impl Draft {
    /// The recipe called `name`: one inside the program, or a `.toml` file; then with `overrides`.
    ///
    /// # Errors
    /// No such recipe, no TOML.
    pub fn load(name: &str, overrides: &[Override]) -> Result<Self> {
        Self::parse(&Self::text(name)?, name, overrides)
    }

    pub(super) fn text(name: &str) -> Result<String> {
        if let Some((_, text)) = BUILT_IN.iter().find(|(built_in, _)| *built_in == name) {
            return Ok((*text).to_owned());
        }
        if !name.ends_with(".toml") {
            let names = BUILT_IN.map(|(name, _)| name).join(", ");
            let what = format!("there is no such recipe; give one of {names}, or a file that ends in .toml");
            return Err(Error::Recipe { origin: name.to_owned(), what });
        }
        read(Path::new(name))
    }

    /// The recipe in `text`, with `overrides`; `origin` is for messages.
    ///
    /// # Errors
    /// No TOML; a key in a single value.
    pub fn parse(text: &str, origin: &str, overrides: &[Override]) -> Result<Self> {
        let table = text.parse().map_err(|e| broken(origin, &e))?;
        let mut draft = Self { origin: origin.to_owned(), table };
        overrides.iter().try_for_each(|(key, value)| draft.put(key, value.clone()))?;
        Ok(draft)
    }

    /// Whether nothing is said of a dotted key.
    pub fn lacks(&self, key: &str) -> bool {
        self.get(key).is_none()
    }

    /// What stands at a dotted key.
    pub fn get(&self, key: &str) -> Option<&toml::Value> {
        let mut parts = key.split('.');
        let first = self.table.get(parts.next()?)?;
        parts.try_fold(first, |value, part| value.get(part))
    }

    /// Puts `value` at a dotted key. Whether recipes have such a key is found out when the draft is finished.
    ///
    /// # Errors
    /// A key in a single value.
    pub fn put(&mut self, key: &str, value: impl Into<toml::Value>) -> Result<()> {
        set(&mut self.table, key, value.into()).map_err(|what| Error::Recipe { origin: self.origin.clone(), what })
    }

    /// What is to be learned.
    ///
    /// # Errors
    /// Unknown keys, wrong types, impossible values there; none at all.
    pub fn data(&self) -> Result<Data> {
        let fail = |what: String| Error::Recipe { origin: self.origin.clone(), what };
        let data = self.table.get("data").ok_or_else(|| {
            fail("data.source is missing: name pictures with --data, a folder, a zip, or another source".into())
        })?;
        let data: Data = data.clone().try_into().map_err(|e| broken(&self.origin, &e))?;
        data.check().and_then(|()| data.absolute()).map_err(fail)
    }

    /// Takes up what was chosen of the data.
    ///
    /// # Errors
    /// A path that TOML cannot hold.
    pub fn put_data(&mut self, data: &Data) -> Result<()> {
        let value = toml::Value::try_from(data);
        let value = value.map_err(|e| Error::Recipe { origin: self.origin.clone(), what: e.to_string() })?;
        self.put("data", value)
    }

    /// The recipe.
    ///
    /// # Errors
    /// Unknown and missing keys, wrong types, impossible values.
    pub fn finish(self) -> Result<Recipe> {
        let recipe: Recipe = self.table.try_into().map_err(|e| broken(&self.origin, &e))?;
        recipe.checked(&self.origin)
    }
}

pub(super) fn read(path: &Path) -> Result<String> {
    let text = String::from_utf8(files::read(path, LONGEST)?);
    text.map_err(|e| Error::Recipe { origin: path.display().to_string(), what: format!("is no text: {e}") })
}

pub(super) fn broken(origin: &str, error: &toml::de::Error) -> Error {
    Error::Recipe { origin: origin.to_owned(), what: error.to_string().trim_end().to_owned() }
}

/// Puts `value` at a dotted key.
fn set(table: &mut toml::Table, key: &str, value: toml::Value) -> Checked {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((first, rest)) => {
            let inner = table.entry(first.to_owned()).or_insert_with(|| toml::Table::new().into());
            let inner =
                inner.as_table_mut().ok_or_else(|| format!("{first} is a single value, it has no key {rest}"))?;
            set(inner, rest, value)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_known_and_can_be_put() -> Result<()> {
        let mut draft = Draft::load("digits", &[("data.size".into(), "32x48".into())])?;
        assert_eq!(draft.data()?.size.map(|size| size.to_string()).as_deref(), Some("32x48"));
        for (key, lacks) in
            [("training.batch", false), ("training.width", true), ("name", false), ("name.x", true), ("x.y.z", true)]
        {
            assert_eq!(draft.lacks(key), lacks, "{key}");
        }
        draft.put("training.batch", 8)?;
        let error = draft.put("name.x", 8).expect_err("a single value").to_string();
        assert!(error.contains("name is a single value"), "{error}");
        assert_eq!(draft.clone().finish()?.training.batch, 8);
        draft.put("training", toml::Table::new())?;
        assert!(draft.finish().expect_err("missing").to_string().contains("missing field"));
        let error = Draft::parse("seed = 1", "x.toml", &[])?.data().expect_err("no data").to_string();
        assert!(error.contains("data.source is missing") && error.contains("--data"), "{error}");
        Ok(())
    }
}
