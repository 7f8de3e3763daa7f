//! `[data]`: what is learned.

use super::Checked;
use crate::data::MNIST;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The images to learn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Data {
    /// Where they are, as [`crate::data::open`] takes it: `mnist`, which is inside the program, or a path.
    pub source: PathBuf,
}

/// As recipes have it: `source`, or as they had it before there was more than one kind of data, `set = "mnist"`, perhaps
/// with a `folder`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    source: Option<PathBuf>,
    set: Option<String>,
    folder: Option<PathBuf>,
}

impl TryFrom<Written> for Data {
    type Error = String;

    fn try_from(written: Written) -> std::result::Result<Self, String> {
        match written {
            Written { source: Some(source), set: None, folder: None } => Ok(Self { source }),
            Written { source: None, set: Some(set), folder } if set == MNIST => {
                Ok(Self { source: folder.unwrap_or_else(|| MNIST.into()) })
            }
            _ => Err(format!("expected `source` alone, {MNIST} or a path")),
        }
    }
}

impl Data {
    /// The same from any folder: a path is made absolute.
    ///
    /// # Errors
    /// In words: a working folder whose name is not UTF-8, as TOML needs it.
    pub fn absolute(&self) -> std::result::Result<Self, String> {
        if self.source == Path::new(MNIST) {
            return Ok(self.clone());
        }
        let source = std::path::absolute(&self.source).unwrap_or_else(|_| self.source.clone());
        match source.to_str() {
            Some(_) => Ok(Self { source }),
            None => Err(format!("data.source is {}, which is not UTF-8, as a recipe must be", source.display())),
        }
    }

    pub(super) fn check(&self) -> Checked {
        match self.source.as_os_str().is_empty() {
            true => Err(format!("data.source is empty, allowed are {MNIST} and a path")),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_earlier_recipes_said_is_understood() {
        let read = |text: &str| toml::from_str::<Data>(text).map(|data| data.source);
        for (text, source) in [
            ("source = 'x.safetensors'", "x.safetensors"),
            ("set = 'mnist'", "mnist"),
            ("set = 'mnist'\nfolder = '/data'", "/data"),
        ] {
            assert_eq!(read(text), Ok(source.into()), "{text}");
        }
        for text in ["", "set = 'cifar'", "folder = 'x'", "source = 'x'\nset = 'mnist'", "sauce = 'x'"] {
            let error = read(text).expect_err(text).to_string();
            assert!(error.contains("expected") && error.contains("`source`"), "{text}: {error}");
        }
    }

    #[test]
    fn paths_become_absolute_and_what_is_inside_the_program_stays() {
        let absolute = |source: &str| Data { source: source.into() }.absolute().expect("UTF-8").source;
        assert_eq!(absolute("mnist"), Path::new("mnist"));
        let here = std::env::current_dir().expect("a folder");
        assert_eq!(absolute("pictures"), here.join("pictures"));
        assert_eq!(absolute("./mnist"), here.join("mnist"));
        #[cfg(unix)]
        {
            let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"/\xff");
            let error = Data { source: name.into() }.absolute().expect_err("not UTF-8");
            assert!(error.contains("UTF-8"), "{error}");
        }
    }
}
