//! Parts of a foreign file's messages that several of them have: texts, lists, versions, inputs and outputs.

use super::source::Port;
use crate::graph::MAX_RANK;
use crate::text::shown;
use crate::wire::{Field, Payload, damaged, fields};

/// Most bytes of a name or a text.
const MOST_TEXT: usize = 1 << 20;

pub(super) fn unknown(what: &str, number: u32) -> String {
    format!("is no ONNX file, or a damaged one, or has what is not known here: field {number} of {what}")
}

pub(super) fn push<T>(list: &mut Vec<T>, item: T, most: usize, what: &str) -> Result<(), String> {
    if list.len() == most {
        return Err(format!("has more than {most} {what}"));
    }
    list.push(item);
    Ok(())
}

pub(super) fn text(bytes: &[u8]) -> Result<&str, String> {
    match std::str::from_utf8(bytes) {
        Ok(text) if text.len() <= MOST_TEXT && !text.contains('\0') => Ok(text),
        _ => Err(format!("has a name that is no text of at most {MOST_TEXT} bytes")),
    }
}

pub(super) fn opset_of(message: &[u8]) -> Result<(&str, i64), String> {
    let (mut domain, mut version) = ("", 0);
    for field in fields(message) {
        match field? {
            Field { number: 1, value: Payload::Bytes(bytes) } => domain = text(bytes)?,
            Field { number: 2, value: Payload::Varint(n) } => version = n as i64,
            Field { number, .. } => return Err(unknown("a version", number)),
        }
    }
    Ok((domain, version))
}

/// The key of an entry of the metadata.
pub(super) fn key(value: Payload<'_>) -> Result<&str, String> {
    match value {
        Payload::Bytes(message) => Ok(entry(message)?.0),
        _ => Err(damaged().what),
    }
}

pub(super) fn entry(message: &[u8]) -> Result<(&str, &str), String> {
    let (mut key, mut value) = ("", "");
    for field in fields(message) {
        match field? {
            Field { number: 1, value: Payload::Bytes(bytes) } => key = text(bytes)?,
            Field { number: 2, value: Payload::Bytes(bytes) } => value = text(bytes)?,
            Field { number, .. } => return Err(unknown("an entry", number)),
        }
    }
    Ok((key, value))
}

/// Adds the numbers of a repeated float field, packed or not.
pub(super) fn floats_of(value: Payload<'_>, most: usize, into: &mut Vec<f32>) -> Result<(), String> {
    match value {
        Payload::Fixed32(bits) => into.push(f32::from_bits(bits)),
        Payload::Bytes(packed) if packed.len().is_multiple_of(4) => {
            into.extend(packed.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)));
        }
        _ => return Err(damaged().what),
    }
    match into.len() <= most {
        true => Ok(()),
        false => Err(format!("has a list of more than {most} numbers where so many are the most")),
    }
}

/// The message in the field `number` of another.
fn inner(message: &[u8], wanted: u32) -> Result<Option<&[u8]>, String> {
    let mut found = None;
    for field in fields(message) {
        if let Field { number, value: Payload::Bytes(bytes) } = field?
            && number == wanted
        {
            found = Some(bytes);
        }
    }
    Ok(found)
}

pub(super) fn port(message: &[u8]) -> Result<Port<'_>, String> {
    let name = text(inner(message, 1)?.unwrap_or_default())?;
    let none = || format!("has the input or output {} that is no tensor", shown(name));
    let tensor = inner(inner(message, 2)?.ok_or_else(none)?, 1)?.ok_or_else(none)?;
    let (mut element, mut shape) = (0, Vec::new());
    for field in fields(tensor) {
        match field? {
            Field { number: 1, value: Payload::Varint(n) } => element = n,
            Field { number: 2, value: Payload::Bytes(message) } => {
                for field in fields(message) {
                    let Field { number: 1, value: Payload::Bytes(size) } = field? else { return Err(none()) };
                    let mut found = None;
                    for field in fields(size) {
                        if let Field { number: 1, value: Payload::Varint(n) } = field? {
                            // Some write an open size as -1 or 0.
                            found = usize::try_from(n as i64).ok().filter(|n| *n > 0);
                        }
                    }
                    push(&mut shape, found, MAX_RANK, "sizes in a shape")?;
                }
            }
            _ => return Err(none()),
        }
    }
    Ok(Port { name, element, shape })
}
