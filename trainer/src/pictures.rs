//! The options that say how pictures become images of one shape, for training and for packs.

use std::path::Path;
use trainer::recipe::{BadFiles, Colour, Data, Fit, Labelled, Override, Size};

/// How pictures become images of one shape.
#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = HEADING)]
pub struct Pictures {
    /// Sides in pixels, such as 64 or 96x64 [default: the pictures' own up to 256 if all have the same, else at most 64]
    #[arg(long, value_name = "SIZE")]
    pub size: Option<Size>,

    /// 1 (grey), 2 (grey with alpha), 3 (red, green, blue) or 4 (with alpha) [default: what the pictures need]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=4))]
    pub channels: Option<u8>,

    /// How pictures of other proportions come to that size [default: crop]
    #[arg(long, value_name = "HOW", value_enum)]
    pub fit: Option<Fit>,

    /// What lies behind transparent pixels where alpha is not learned, and beside padded pictures [default: #ffffff]
    #[arg(long, value_name = "COLOUR")]
    pub background: Option<Colour>,

    /// Which class a picture is of: none, folders, or a CSV or JSON file [default: such a file in the folder, or folders]
    #[arg(long, value_name = "WHAT")]
    pub labels: Option<Labelled>,

    /// What is done about pictures that cannot be read [default: skip up to one of a hundred, fail where there are more]
    #[arg(long, value_name = "WHAT", value_enum)]
    pub on_bad_file: Option<BadFiles>,
}

/// Above these options in the help.
pub const HEADING: &str = "Pictures";

impl Pictures {
    /// The data at `source`, read so.
    pub fn at(&self, source: &Path) -> Data {
        Data {
            size: self.size,
            channels: self.channels.map(usize::from),
            fit: self.fit.unwrap_or_default(),
            background: self.background.unwrap_or_default(),
            labels: self.labels.clone(),
            bad_files: self.on_bad_file,
            ..Data::at(source)
        }
    }

    /// The values of a recipe that they replace.
    pub fn overrides(&self) -> Vec<Override> {
        let all = toml::Table::try_from(self.at(Path::new(""))).unwrap_or_default();
        // What was asked for though it is the default, which a table leaves out.
        let asked =
            [("fit", self.fit.map(toml::Value::try_from)), ("background", self.background.map(toml::Value::try_from))];
        let asked = asked.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?.ok()?)));
        let all = all.into_iter().filter(|(key, _)| key != "source").chain(asked);
        all.map(|(key, value)| (format!("data.{key}"), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_asked_for_replaces_the_recipes() {
        let asked = Pictures {
            size: Some(Size { width: 96, height: 64 }),
            channels: Some(3),
            fit: Some(Fit::Crop),
            on_bad_file: Some(BadFiles::Skip),
            ..Pictures::default()
        };
        let mut all: Vec<String> = asked.overrides().iter().map(|(key, value)| format!("{key}={value}")).collect();
        all.sort();
        assert_eq!(all, ["data.bad_files=\"skip\"", "data.channels=3", "data.fit=\"crop\"", "data.size=\"96x64\"",]);
        assert!(Pictures::default().overrides().is_empty());
    }
}
