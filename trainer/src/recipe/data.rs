//! `[data]`: what is learned.

use super::{Checked, is_default, within};
use crate::data::MNIST;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The images to learn.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "Written")]
pub struct Data {
    /// Where they are, as [`crate::data::open`] takes it: `mnist`, which is inside the program, or a path.
    pub source: PathBuf,
    /// Sides in pixels; without it the data's own, where all pictures have the same.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<Size>,
    /// 1 (grey), 2 (grey with alpha), 3 (red, green, blue) or 4 (with alpha); without it, what the pictures need.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channels: Option<usize>,
    /// How pictures of other proportions come to that size.
    #[serde(skip_serializing_if = "is_default")]
    pub fit: Fit,
    /// What lies behind transparent pixels where alpha is not learned, and beside padded pictures.
    #[serde(skip_serializing_if = "is_default")]
    pub background: Colour,
    /// What says which class a picture is of; without it, a file of labels or the folders that pictures lie in, if they do.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Labelled>,
    /// What is done about pictures that cannot be read; without it, one of a hundred is left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bad_files: Option<BadFiles>,
    /// Whether a picture is shown mirrored every other time.
    #[serde(skip_serializing_if = "is_default")]
    pub flip: bool,
    /// From 0, where every image is shown as often, to 1, where every class is: a class of n images is shown in proportion to
    /// `n^(1 - balance)`.
    #[serde(skip_serializing_if = "is_default")]
    pub balance: f64,
}

/// Width and height in pixels; in a recipe `64`, `"64"` or `"96x64"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
}

impl std::fmt::Display for Size {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}x{}", self.width, self.height)
    }
}

impl std::str::FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let (width, height) = text.split_once(['x', 'X']).unwrap_or((text, text));
        let side = |text: &str| text.trim().parse().ok().filter(|side| (1..=runtime::MAX_SIDE).contains(side));
        match (side(width), side(height)) {
            (Some(width), Some(height)) => Ok(Self { width, height }),
            _ => Err(format!(
                "{text:?} is no size, allowed are a side or WIDTHxHEIGHT, such as 64 or 96x64, of 1 to {} pixels",
                runtime::MAX_SIDE
            )),
        }
    }
}

impl Serialize for Size {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Size {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged, expecting = "no size, allowed are a side or WIDTHxHEIGHT in quotes, such as 64 or \"96x64\"")]
        enum Written {
            Side(u64),
            Text(String),
        }
        let text = match Written::deserialize(d)? {
            Written::Side(side) => side.to_string(),
            Written::Text(text) => text,
        };
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// How a picture comes to a size of other proportions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Fit {
    /// The largest part of the right proportions from its middle.
    #[default]
    Crop,
    /// All of it, in the middle of the background.
    Pad,
    /// All of it, its proportions changed.
    Stretch,
}

/// What says which class a picture is of; in a recipe `"none"`, `"folders"` or the path of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Labelled {
    /// Nothing: there are no classes.
    None,
    /// The folders that pictures lie in.
    Folders,
    /// A CSV or JSON file.
    File(PathBuf),
}

impl std::str::FromStr for Labelled {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        match text {
            "" => Err("is empty, allowed are none, folders and the path of a CSV or JSON file".into()),
            "none" => Ok(Self::None),
            "folders" => Ok(Self::Folders),
            path => Ok(Self::File(path.into())),
        }
    }
}

impl Serialize for Labelled {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        match self {
            Self::None => s.serialize_str("none"),
            Self::Folders => s.serialize_str("folders"),
            Self::File(path) => path.serialize(s),
        }
    }
}

impl<'de> Deserialize<'de> for Labelled {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        let fail = |what| serde::de::Error::custom(format_args!("data.labels {what}"));
        String::deserialize(d)?.parse().map_err(fail)
    }
}

/// What is done about pictures that cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum BadFiles {
    /// They are left out.
    Skip,
    /// A single one is an error.
    Fail,
}

/// A colour; in a recipe `"#rrggbb"`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(pub [u8; 3]);

impl Default for Colour {
    fn default() -> Self {
        Self([255; 3])
    }
}

impl std::fmt::Display for Colour {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [r, g, b] = self.0;
        write!(f, "#{r:02x}{g:02x}{b:02x}")
    }
}

impl std::str::FromStr for Colour {
    type Err = String;

    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let digits =
            text.strip_prefix('#').filter(|digits| digits.len() == 6 && digits.bytes().all(|d| d.is_ascii_hexdigit()));
        let value = digits.and_then(|digits| u32::from_str_radix(digits, 16).ok());
        let [_, r, g, b] =
            value.ok_or_else(|| format!("{text:?} is no colour, allowed is such as \"#ffffff\""))?.to_be_bytes();
        Ok(Self([r, g, b]))
    }
}

impl Serialize for Colour {
    fn serialize<S: serde::Serializer>(&self, s: S) -> std::result::Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Colour {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

/// As recipes have it: `source`, or as they had it before there was more than one kind of data, `set = "mnist"`, perhaps
/// with a `folder`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    source: Option<PathBuf>,
    set: Option<String>,
    folder: Option<PathBuf>,
    size: Option<Size>,
    channels: Option<usize>,
    #[serde(default)]
    fit: Fit,
    #[serde(default)]
    background: Colour,
    labels: Option<Labelled>,
    bad_files: Option<BadFiles>,
    #[serde(default)]
    flip: bool,
    #[serde(default)]
    balance: f64,
}

impl TryFrom<Written> for Data {
    type Error = String;

    fn try_from(written: Written) -> std::result::Result<Self, String> {
        let Written { source, set, folder, size, channels, fit, background, labels, bad_files, flip, balance } =
            written;
        let source = match (source, set, folder) {
            (Some(source), None, None) => source,
            (None, Some(set), folder) if set == MNIST => folder.unwrap_or_else(|| MNIST.into()),
            _ => return Err(format!("expected `source` alone, {MNIST} or a path")),
        };
        Ok(Self { source, size, channels, fit, background, labels, bad_files, flip, balance })
    }
}

impl Data {
    /// The images at `source` as they are.
    pub fn at(source: &Path) -> Self {
        Self { source: source.to_owned(), ..Self::default() }
    }

    /// The same from any folder: a path is made absolute.
    ///
    /// # Errors
    /// In words: a working folder whose name is not UTF-8, as TOML needs it.
    pub fn absolute(&self) -> std::result::Result<Self, String> {
        let absolute = |key: &str, path: &Path| {
            let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
            match path.to_str() {
                Some(_) => Ok(path),
                None => Err(format!("data.{key} is {}, which is not UTF-8, as a recipe must be", path.display())),
            }
        };
        let mut data = self.clone();
        if self.source != Path::new(MNIST) {
            data.source = absolute("source", &self.source)?;
        }
        if let Some(Labelled::File(path)) = &self.labels {
            data.labels = Some(Labelled::File(absolute("labels", path)?));
        }
        Ok(data)
    }

    pub(super) fn check(&self) -> Checked {
        if self.source.as_os_str().is_empty() {
            return Err(format!("data.source is empty, allowed are {MNIST} and a path"));
        }
        self.channels.map_or(Ok(()), |channels| within("data.channels", channels, 1, runtime::MAX_CHANNELS))?;
        if !(0. ..=1.).contains(&self.balance) {
            return Err(format!("data.balance is {}, allowed is 0 to 1", self.balance));
        }
        Ok(())
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
    fn options_survive_a_round_trip_and_others_are_refused_with_what_is_allowed() {
        for text in
            ["labels = 'none'", "labels = 'folders'", "labels = '/x.csv'", "bad_files = 'skip'", "bad_files = 'fail'"]
        {
            let text = format!("source = 'x'\n{text}");
            let data: Data = toml::from_str(&text).expect("reads");
            let written = toml::to_string(&data).expect("writes");
            assert_eq!(written.replace('"', "'").trim_end(), text);
        }
        assert_eq!(toml::to_string(&Data::at("x".as_ref())).expect("writes").trim_end(), "source = \"x\"");
        for (text, words) in [
            ("labels = ''", "none, folders"),
            ("bad_files = 'x'", "`skip` or `fail`"),
            ("background = 'white'", "#ffffff"),
            ("background = '#+12345'", "#ffffff"),
            ("size = -64", "WIDTHxHEIGHT"),
            ("size = 64.0", "WIDTHxHEIGHT"),
            ("size = [96, 64]", "WIDTHxHEIGHT"),
        ] {
            let error = toml::from_str::<Data>(&format!("source = 'x'\n{text}")).expect_err(text).to_string();
            assert!(error.contains(words), "{error}");
        }
    }

    #[test]
    fn paths_become_absolute_and_what_is_inside_the_program_stays() {
        let absolute = |source: &str| Data::at(source.as_ref()).absolute().expect("UTF-8").source;
        assert_eq!(absolute("mnist"), Path::new("mnist"));
        let here = std::env::current_dir().expect("a folder");
        assert_eq!(absolute("pictures"), here.join("pictures"));
        assert_eq!(absolute("./mnist"), here.join("mnist"));
        let data = Data { labels: Some(Labelled::File("a.csv".into())), ..Data::at("mnist".as_ref()) };
        assert_eq!(data.absolute().expect("UTF-8").labels, Some(Labelled::File(here.join("a.csv"))));
        #[cfg(unix)]
        {
            let name: &std::ffi::OsStr = std::os::unix::ffi::OsStrExt::from_bytes(b"/\xff");
            let error = Data::at(name.as_ref()).absolute().expect_err("not UTF-8");
            assert!(error.contains("UTF-8"), "{error}");
        }
    }
}
