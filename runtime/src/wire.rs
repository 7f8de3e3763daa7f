//! The wire format of protobuf (<https://protobuf.dev/programming-guides/encoding/>), as much as it takes to walk through a
//! message of unknown origin without copying what is inside.

/// The value of a field.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Value<'a> {
    Varint(u64),
    Fixed64,
    Bytes(&'a [u8]),
    Fixed32,
}

/// A field of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Field<'a> {
    pub(crate) number: u32,
    pub(crate) value: Value<'a>,
    /// The whole field as it stands in the message, tag included.
    pub(crate) raw: &'a [u8],
}

/// The fields of a message, in its order; an error is the last item.
pub(crate) struct Fields<'a>(&'a [u8]);

pub(crate) fn fields(message: &[u8]) -> Fields<'_> {
    Fields(message)
}

/// What is said of bytes that are no message.
const DAMAGED: &str = "is no ONNX file, or damaged: a field ends outside its message";

impl<'a> Iterator for Fields<'a> {
    type Item = Result<Field<'a>, String>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.0.is_empty() {
            return None;
        }
        let field = read(self.0);
        self.0 = field.map_or(&[], |(_, rest)| rest);
        Some(field.map(|(field, _)| field).ok_or_else(|| DAMAGED.into()))
    }
}

fn read(message: &[u8]) -> Option<(Field<'_>, &[u8])> {
    let (tag, rest) = varint(message)?;
    let (value, rest) = match tag & 7 {
        0 => varint(rest).map(|(n, rest)| (Value::Varint(n), rest))?,
        1 => (Value::Fixed64, rest.get(8..)?),
        2 => {
            let (length, rest) = varint(rest)?;
            let (bytes, rest) = rest.split_at_checked(usize::try_from(length).ok()?)?;
            (Value::Bytes(bytes), rest)
        }
        5 => (Value::Fixed32, rest.get(4..)?),
        // 3 and 4 are groups, which no file of ONNX has.
        _ => return None,
    };
    let number = u32::try_from(tag >> 3).ok().filter(|&number| number != 0)?;
    Some((Field { number, value, raw: &message[..message.len() - rest.len()] }, rest))
}

fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
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

/// All numbers of a repeated integer field, packed or not.
pub(crate) fn numbers(value: Value<'_>, into: &mut Vec<u64>) -> Result<(), String> {
    match value {
        Value::Varint(n) => into.push(n),
        Value::Bytes(mut packed) => {
            while !packed.is_empty() {
                let (n, rest) = varint(packed).ok_or(DAMAGED)?;
                into.push(n);
                packed = rest;
            }
        }
        Value::Fixed64 | Value::Fixed32 => return Err(DAMAGED.into()),
    }
    Ok(())
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

pub(crate) fn put_number(out: &mut Vec<u8>, field: u32, number: u64) {
    put_varint(out, u64::from(field) << 3);
    put_varint(out, number);
}

/// Bytes of a length that is written before what it measures: enough for all lengths that protobuf allows, and allowed to be
/// more than needed.
const LENGTH: usize = 5;

/// A field whose content is being written.
pub(crate) struct Open(usize);

/// Begins a field whose content is written next, until [`end`].
pub(crate) fn begin(out: &mut Vec<u8>, field: u32) -> Open {
    put_varint(out, u64::from(field) << 3 | 2);
    out.extend_from_slice(&[0; LENGTH]);
    Open(out.len())
}

/// Ends a field.
pub(crate) fn end(out: &mut [u8], Open(start): Open) {
    let length = out.len() - start;
    for (i, byte) in out[start - LENGTH..start].iter_mut().enumerate() {
        let more = if i + 1 < LENGTH { 0x80 } else { 0 };
        *byte = (length >> (7 * i)) as u8 & 0x7f | more;
    }
}

pub(crate) fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_varint(out, u64::from(field) << 3 | 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_put_is_read(number in 1u32..1 << 29, n: u64, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut message = Vec::new();
            put_number(&mut message, number, n);
            let first = message.len();
            put_bytes(&mut message, number, &bytes);
            let read: Vec<_> = fields(&message).collect::<Result<_, _>>().expect("reads");
            let (value, raw) = (Value::Varint(n), &message[..first]);
            prop_assert_eq!(read[0], Field { number, value, raw });
            let (value, raw) = (Value::Bytes(&bytes), &message[first..]);
            prop_assert_eq!(read[1], Field { number, value, raw });
            prop_assert_eq!(read.len(), 2);
        }

        #[test]
        fn a_field_may_be_written_before_its_length_is_known(
            number in 1u32..1 << 29, parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..200), 0..5),
        ) {
            let mut message = vec![];
            let outer = begin(&mut message, number);
            parts.iter().for_each(|part| put_bytes(&mut message, 1, part));
            end(&mut message, outer);
            let read: Vec<_> = fields(&message).collect::<Result<_, _>>().expect("reads");
            let [Field { number: found, value: Value::Bytes(inner), .. }] = read[..] else { panic!("{read:?}") };
            prop_assert_eq!(found, number);
            let inner: Vec<_> = fields(inner).map(|field| field.expect("reads").value).collect();
            let expected: Vec<_> = parts.iter().map(|part| Value::Bytes(part)).collect();
            prop_assert_eq!(inner, expected);
        }

        #[test]
        fn any_bytes_end_in_fields_or_one_error(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let all: Vec<_> = fields(&bytes).collect();
            let errors = all.iter().filter(|field| field.is_err()).count();
            prop_assert!(errors <= 1 && all.iter().rev().skip(1).all(Result::is_ok));
            if errors == 0 {
                let whole: Vec<u8> = all.iter().flatten().flat_map(|field| field.raw).copied().collect();
                prop_assert_eq!(whole, bytes);
            }
        }

        #[test]
        fn numbers_are_read_packed_and_single(all in prop::collection::vec(any::<u64>(), 0..20)) {
            let (mut packed, mut read, mut single) = (Vec::new(), Vec::new(), Vec::new());
            all.iter().for_each(|&n| put_varint(&mut packed, n));
            numbers(Value::Bytes(&packed), &mut read).expect("reads");
            all.iter().for_each(|&n| numbers(Value::Varint(n), &mut single).expect("reads"));
            prop_assert_eq!(&read, &all);
            prop_assert_eq!(&single, &all);
        }
    }

    #[test]
    fn fields_that_cannot_be_are_errors() {
        let tests: [&[u8]; 7] = [
            &[0x0a],
            &[0x0a, 5, 1],
            &[0x0b],
            &[0x00, 0],
            &[0x09, 1, 2, 3],
            &[0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2],
            &[0x0a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1],
        ];
        for bytes in tests {
            assert!(fields(bytes).next().is_some_and(|field| field.is_err()), "{bytes:?}");
        }
    }
}
