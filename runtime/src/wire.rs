//! The wire format of protobuf (<https://protobuf.dev/programming-guides/encoding/>), as much as it takes to walk through a
//! message of unknown origin without copying what is inside.

use crate::error::Fault;

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Payload<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32(u32),
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Payload<'a>,
}

/// The fields of a message, in its order; an error is the last item.
pub(crate) struct Fields<'a>(&'a [u8]);

pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

/// What is said of bytes that are no message.
pub(crate) fn damaged() -> Fault {
    Fault::damaged("is no ONNX file, or damaged: a field ends outside its message")
}

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, Fault>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = read(self.0);
        self.0 = field.map_or(&[], |(_, rest)| rest);
        Some(field.map(|(field, _)| field).ok_or_else(damaged))
    }
}

fn read(message: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (tag, rest) = varint(message)?;
    // What is above is cut off by some readers, who then see another field.
    let tag = u32::try_from(tag).ok()?;
    let (value, rest) = match tag & 7 {
        0 => varint(rest).map(|(n, rest)| (Payload::Varint(n), rest))?,
        1 => (Payload::Fixed64, rest.get(8..)?),
        2 => {
            let (length, rest) = varint(rest)?;
            let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Payload::Bytes(bytes), rest)
        }
        5 => {
            let (bytes, rest) = rest.split_first_chunk()?;
            (Payload::Fixed32(u32::from_le_bytes(*bytes)), rest)
        }
        // 3 and 4 are groups, which no file of ONNX has.
        _ => return None,
    };
    let number = tag >> 3;
    (number != 0).then_some((Field { number, value }, rest))
}

/// A number at the beginning of `bytes`, and what follows it.
pub(crate) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut number = 0u64;
    for (i, &byte) in bytes.iter().take(10).enumerate() {
        let part = u64::from(byte & 0x7f);
        // The tenth byte has room for one bit.
        if i == 9 && part > 1 {
            return None;
        }
        number |= part << (7 * i);
        if byte < 0x80 {
            return Some((number, &bytes[i + 1..]));
        }
    }
    None
}

/// Adds the numbers of a repeated integer field, packed or not, to `into`, which holds at most `most`.
pub(crate) fn numbers(value: Payload<'_>, most: usize, into: &mut Vec<i64>) -> Result<(), Fault> {
    let mut put = |n: u64| {
        if into.len() == most {
            return Err(Fault::from(format!("has a list of more than {most} numbers where so many are the most")));
        }
        into.push(n as i64);
        Ok(())
    };
    match value {
        Payload::Varint(n) => put(n)?,
        Payload::Bytes(mut packed) => {
            while !packed.is_empty() {
                let (n, rest) = varint(packed).ok_or_else(damaged)?;
                put(n)?;
                packed = rest;
            }
        }
        Payload::Fixed64 | Payload::Fixed32(_) => return Err(damaged()),
    }
    Ok(())
}

/// Writing fields.
#[cfg(any(test, feature = "cli"))]
pub(crate) mod write {
    pub(crate) fn varint(out: &mut Vec<u8>, mut number: u64) {
        while number >= 0x80 {
            out.push(number as u8 | 0x80);
            number >>= 7;
        }
        out.push(number as u8);
    }

    pub(crate) fn number(out: &mut Vec<u8>, field: u32, number: u64) {
        varint(out, u64::from(field) << 3);
        varint(out, number);
    }

    pub(crate) fn float(out: &mut Vec<u8>, field: u32, number: f32) {
        varint(out, u64::from(field) << 3 | 5);
        out.extend_from_slice(&number.to_le_bytes());
    }

    pub(crate) fn bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
        varint(out, u64::from(field) << 3 | 2);
        varint(out, bytes.len() as u64);
        out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(number in 1u32..1 << 29, n: u64, x: f32, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut message = Vec::new();
            write::number(&mut message, number, n);
            write::bytes(&mut message, number, &bytes);
            write::float(&mut message, number, x);
            let read: Vec<_> = fields(&message).map(|field| field.expect("reads")).collect();
            prop_assert!(read.iter().all(|field| field.number == number));
            let values: Vec<_> = read.iter().map(|field| field.value).collect();
            prop_assert_eq!(values, [Payload::Varint(n), Payload::Bytes(&bytes), Payload::Fixed32(x.to_bits())]);
        }

        #[test]
        fn any_bytes_end_in_fields_or_one_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let all: Vec<_> = fields(&bytes).collect();
            let errors = all.iter().filter(|field| field.is_err()).count();
            prop_assert!(errors <= 1 && all.iter().rev().skip(1).all(Result::is_ok));
        }

        #[test]
        fn numbers_are_read_packed_and_single_up_to_the_most(all in prop::collection::vec(any::<i64>(), 0..20)) {
            let (mut packed, mut read, mut single) = (Vec::new(), Vec::new(), Vec::new());
            all.iter().for_each(|&n| write::varint(&mut packed, n as u64));
            numbers(Payload::Bytes(&packed), 20, &mut read).expect("reads");
            all.iter().for_each(|&n| numbers(Payload::Varint(n as u64), 20, &mut single).expect("reads"));
            prop_assert_eq!(&read, &all);
            prop_assert_eq!(&single, &all);
            let few = all.len().saturating_sub(1);
            prop_assert_eq!(numbers(Payload::Bytes(&packed), few, &mut Vec::new()).is_err(), !all.is_empty());
        }
    }

    #[test]
    fn fields_that_cannot_be_are_errors() {
        let tests: [&[u8]; 11] = [
            &[0x0a],
            &[0x0a, 5, 1],
            &[0x0b],
            &[0x00, 0],
            &[0x09, 1, 2, 3],
            &[0x0d, 1, 2, 3],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
            // Field 13 and field 14 to whoever cuts the tag to 32 bits.
            &[0xea, 0x80, 0x80, 0x80, 0x10, 0],
            &[0xf0, 0x80, 0x80, 0x80, 0x10, 1],
            &[0xf0, 0x80, 0x80, 0x80, 0x80, 1, 1],
        ];
        for bytes in tests {
            assert!(fields(bytes).next().is_some_and(|field| field.is_err()), "{bytes:?}");
        }
    }
}
