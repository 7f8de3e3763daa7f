//! Parts of a foreign file's messages of which more is taken than of a generator file's: lists of floats, types of inputs and
//! outputs.

use super::source::Port;
use crate::graph::MAX_RANK;
use crate::graph::fields::{entry, put, text};
use crate::text::shown;
use crate::wire::{Field, Payload, damaged, fields};

/// The key of an entry of the metadata.
pub(super) fn key(value: Payload<'_>) -> Result<&str, String> {
    match value {
        Payload::Bytes(message) => Ok(entry(message)?.0),
        _ => Err(damaged().what),
    }
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
                    put(&mut shape, found, MAX_RANK, "sizes in a shape")?;
                }
            }
            _ => return Err(none()),
        }
    }
    Ok(Port { name, element, shape })
}
