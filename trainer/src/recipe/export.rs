//! `[export]`: what is written in the end.

use runtime::Precision;
use serde::{Deserialize, Serialize};

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Export {
    /// What weights are, and the sums of their products.
    #[serde(with = "precision")]
    pub precision: Precision,
}

mod precision {
    use runtime::Precision;
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub fn serialize<S: Serializer>(precision: &Precision, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(precision)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Precision, D::Error> {
        let text = String::deserialize(d)?;
        text.parse()
            .map_err(|_| D::Error::custom(format_args!("unknown precision `{text}`, expected `f16`, `f32` or `int8`")))
    }
}
