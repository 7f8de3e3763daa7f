//! Parts of messages that several of them have, and that every reader of ONNX files here reads alike.

use crate::error::Fault;
use crate::wire::{Field, Payload, fields};

/// Most bytes of a name, or of a text of the metadata.
const MAX_TEXT: usize = 1 << 20;

/// What is said of a field that no reader here knows.
pub(crate) fn unknown(what: &str, field: Field<'_>) -> Fault {
    let number = field.number;
    Fault::damaged(format!(
        "is no ONNX file, or a damaged one, or has what is not known here: field {number} of {what}"
    ))
}

/// Adds to a list that holds at most `most`.
pub(crate) fn put<T>(list: &mut Vec<T>, item: T, most: usize, what: &str) -> Result<(), Fault> {
    if list.len() == most {
        return Err(format!("has more than {most} {what}").into());
    }
    list.push(item);
    Ok(())
}

/// A name or a value.
pub(crate) fn text(bytes: &[u8]) -> Result<&str, Fault> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= MAX_TEXT && !text.contains('\0') => Ok(text),
        _ => Err(format!("has a name or a value that is no text of at most {MAX_TEXT} bytes").into()),
    }
}

/// A domain of operators, and their version.
pub(crate) fn opset_of(message: &[u8]) -> Result<(&str, i64), Fault> {
    let (mut domain, mut version) = ("", 0);
    for field in fields(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Payload::Bytes(bytes)) => domain = text(bytes)?,
            (2, Payload::Varint(n)) => version = n as i64,
            _ => return Err(unknown("a version", field)),
        }
    }
    Ok((domain, version))
}

/// A key and its value.
pub(crate) fn entry(message: &[u8]) -> Result<(&str, &str), Fault> {
    let (mut key, mut value) = ("", "");
    for field in fields(message) {
        let field = field?;
        match (field.number, field.value) {
            (1, Payload::Bytes(bytes)) => key = text(bytes)?,
            (2, Payload::Bytes(bytes)) => value = text(bytes)?,
            _ => return Err(unknown("an entry", field)),
        }
    }
    Ok((key, value))
}

/// The name of an element type by its number in ONNX.
pub(crate) fn type_name(number: u64) -> String {
    const NAMES: [&str; 17] = [
        "none",
        "f32",
        "u8",
        "i8",
        "u16",
        "i16",
        "i32",
        "i64",
        "text",
        "bool",
        "f16",
        "f64",
        "u32",
        "u64",
        "complex64",
        "complex128",
        "bf16",
    ];
    usize::try_from(number).ok().and_then(|n| NAMES.get(n)).map_or_else(|| number.to_string(), |name| (*name).into())
}
