//! An ONNX file as a tree that can be changed anywhere, and written again, right or wrong.

/// A field of a message.
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub number: u32,
    pub value: Value,
    /// Bytes that its tag takes beside those that it needs.
    pub padding: usize,
}

#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Varint(u64),
    Fixed64([u8; 8]),
    Bytes(Vec<u8>),
    Message(Kind, Vec<Field>),
    Packed(Vec<u64>),
    Fixed32([u8; 4]),
    /// Whatever is to stand in the place of a field.
    Raw(Vec<u8>),
}

/// The messages of ONNX that generators have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Model,
    Opset,
    Entry,
    Graph,
    Node,
    Attribute,
    Tensor,
    Port,
    Type,
    TensorType,
    Shape,
    Size,
}

impl Kind {
    /// The message in its field `number`, if there is one.
    fn inner(self, number: u32) -> Option<Self> {
        Some(match (self, number) {
            (Self::Model, 7) => Self::Graph,
            (Self::Model, 8) => Self::Opset,
            (Self::Model, 14) | (Self::Tensor, 13) => Self::Entry,
            (Self::Graph, 1) => Self::Node,
            (Self::Graph, 5) | (Self::Attribute, 5) => Self::Tensor,
            (Self::Graph, 11 | 12) => Self::Port,
            (Self::Node, 5) => Self::Attribute,
            (Self::Port, 2) => Self::Type,
            (Self::Type, 1) => Self::TensorType,
            (Self::TensorType, 2) => Self::Shape,
            (Self::Shape, 1) => Self::Size,
            _ => return None,
        })
    }

    fn packs(self, number: u32) -> bool {
        matches!((self, number), (Self::Attribute, 8) | (Self::Tensor, 1 | 5 | 7))
    }
}

impl Field {
    pub fn new(number: u32, value: Value) -> Self {
        Self { number, value, padding: 0 }
    }

    pub fn varint(number: u32, n: u64) -> Self {
        Self::new(number, Value::Varint(n))
    }

    pub fn text(number: u32, text: &str) -> Self {
        Self::new(number, Value::Bytes(text.into()))
    }

    pub fn message(number: u32, kind: Kind, fields: Vec<Self>) -> Self {
        Self::new(number, Value::Message(kind, fields))
    }

    /// An entry of the metadata.
    pub fn entry(key: &str, value: &str) -> Self {
        Self::message(14, Kind::Entry, vec![Self::text(1, key), Self::text(2, value)])
    }
}

/// The fields of a message of this kind; none if it is no message.
pub fn parse(kind: Kind, mut bytes: &[u8]) -> Option<Vec<Field>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        let tag = take_varint(&mut bytes)?;
        let number = u32::try_from(tag >> 3).ok()?;
        let value = match tag & 7 {
            0 => Value::Varint(take_varint(&mut bytes)?),
            1 => Value::Fixed64(take(&mut bytes, 8)?.try_into().ok()?),
            2 => {
                let length = usize::try_from(take_varint(&mut bytes)?).ok()?;
                let inner = take(&mut bytes, length)?;
                match kind.inner(number) {
                    Some(kind) => Value::Message(kind, parse(kind, inner)?),
                    None if kind.packs(number) => Value::Packed(numbers(inner)?),
                    None => Value::Bytes(inner.into()),
                }
            }
            5 => Value::Fixed32(take(&mut bytes, 4)?.try_into().ok()?),
            _ => return None,
        };
        all.push(Field::new(number, value));
    }
    Some(all)
}

fn numbers(mut bytes: &[u8]) -> Option<Vec<u64>> {
    let mut all = Vec::new();
    while !bytes.is_empty() {
        all.push(take_varint(&mut bytes)?);
    }
    Some(all)
}

fn take<'a>(bytes: &mut &'a [u8], n: usize) -> Option<&'a [u8]> {
    let (head, rest) = bytes.split_at_checked(n)?;
    *bytes = rest;
    Some(head)
}

fn take_varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for i in 0..10 {
        let byte = take(bytes, 1)?[0];
        number |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// The bytes of a message.
pub fn write(fields: &[Field]) -> Vec<u8> {
    let mut out = Vec::new();
    for field in fields {
        let mut tag = |wire: u64| {
            put_varint(&mut out, u64::from(field.number) << 3 | wire);
            if let (1.., Some(last)) = (field.padding, out.last_mut()) {
                *last |= 0x80;
                out.extend(std::iter::repeat_n(0x80, field.padding - 1));
                out.push(0);
            }
        };
        let inner = match &field.value {
            Value::Varint(n) => {
                tag(0);
                put_varint(&mut out, *n);
                continue;
            }
            Value::Fixed64(bytes) => {
                tag(1);
                out.extend(bytes);
                continue;
            }
            Value::Fixed32(bytes) => {
                tag(5);
                out.extend(bytes);
                continue;
            }
            Value::Raw(bytes) => {
                out.extend(bytes);
                continue;
            }
            Value::Bytes(bytes) => bytes.clone(),
            Value::Message(_, fields) => write(fields),
            Value::Packed(numbers) => {
                let mut inner = Vec::new();
                numbers.iter().for_each(|n| put_varint(&mut inner, *n));
                inner
            }
        };
        tag(2);
        put_varint(&mut out, inner.len() as u64);
        out.extend(inner);
    }
    out
}

fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Where all the fields are: the places to go through, from the outermost message.
pub fn places(fields: &[Field]) -> Vec<Vec<usize>> {
    let mut all = Vec::new();
    for (i, field) in fields.iter().enumerate() {
        all.push(vec![i]);
        if let Value::Message(_, inner) = &field.value {
            all.extend(places(inner).into_iter().map(|rest| [vec![i], rest].concat()));
        }
    }
    all
}

/// The fields beside the one at `place`, and its number among them.
pub fn beside<'a>(fields: &'a mut Vec<Field>, place: &[usize]) -> (&'a mut Vec<Field>, usize) {
    match place {
        [at] => (fields, *at),
        [first, rest @ ..] => match &mut fields[*first].value {
            Value::Message(_, inner) => beside(inner, rest),
            _ => unreachable!("places lead through messages"),
        },
        [] => unreachable!("places are somewhere"),
    }
}
