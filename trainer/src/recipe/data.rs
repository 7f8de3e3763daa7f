//! `[data]`: what is learned.

use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The images to learn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// The format.
    pub set: DataSet,
    /// Where the files are; without it, the copy inside the program.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub folder: Option<PathBuf>,
}

/// The formats of data sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum DataSet {
    /// MNIST, or other data in its four idx files.
    Mnist,
}
