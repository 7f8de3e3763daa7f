//! Weights: the initialisers of a graph, and where their elements are.

use super::Text;
use half::f16;
use half::slice::HalfFloatSliceExt;
use std::borrow::Cow;
use std::fmt;

/// Element types that values of a generator have, with their number in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ElementType {
    F32 = 1,
    U8 = 2,
    I8 = 3,
    I32 = 6,
    I64 = 7,
    F16 = 10,
}

impl ElementType {
    pub(crate) fn from_number(number: u64) -> Option<Self> {
        [Self::F32, Self::U8, Self::I8, Self::I32, Self::I64, Self::F16].into_iter().find(|e| *e as u64 == number)
    }

    /// Bytes of one element.
    pub(crate) fn size(self) -> usize {
        match self {
            Self::U8 | Self::I8 => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 => 8,
        }
    }

    pub(crate) fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::F32 => "f32",
            Self::U8 => "u8",
            Self::I8 => "i8",
            Self::I32 => "i32",
            Self::I64 => "i64",
            Self::F16 => "f16",
        })
    }
}

/// An initialiser.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Weight<'a> {
    pub(crate) name: Text<'a>,
    pub(crate) element: ElementType,
    pub(crate) shape: Vec<usize>,
    pub(crate) data: Data<'a>,
}

/// The elements of a weight, little-endian.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Data<'a> {
    /// As bytes of a file that is mapped, or of our own.
    Bytes(Cow<'a, [u8]>),
    /// As bytes of type f16, for a weight that is to be f32.
    Halves(Cow<'a, [u8]>),
    /// In the file of this name; where in it, the weight's name says.
    Outside(&'a str),
}

impl fmt::Display for Weight<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} {:?})", crate::text::shown(&self.name), self.element, self.shape)
    }
}

impl<'a> Weight<'a> {
    /// Number of elements, if their bytes can be counted.
    pub(crate) fn len(&self) -> Option<usize> {
        let len = self.shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n))?;
        len.checked_mul(self.element.size()).map(|_| len)
    }

    /// Its bytes in the file.
    pub(crate) fn bytes(&self) -> Option<&[u8]> {
        match &self.data {
            Data::Bytes(bytes) | Data::Halves(bytes) => Some(bytes),
            Data::Outside(_) => None,
        }
    }

    /// A weight of integers of our own.
    pub(crate) fn sizes(name: impl Into<Text<'a>>, sizes: &[i64]) -> Self {
        let bytes: Vec<u8> = sizes.iter().flat_map(|n| n.to_le_bytes()).collect();
        Self { name: name.into(), element: ElementType::I64, shape: vec![sizes.len()], data: Data::Bytes(bytes.into()) }
    }

    /// A weight of numbers of our own.
    pub(crate) fn floats(name: impl Into<Text<'a>>, element: ElementType, shape: &[usize], values: &[f32]) -> Self {
        let bytes: Vec<u8> = match element {
            ElementType::F16 => values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect(),
            _ => values.iter().flat_map(|x| x.to_le_bytes()).collect(),
        };
        Self { name: name.into(), element, shape: shape.to_vec(), data: Data::Bytes(bytes.into()) }
    }

    /// Whether all of its numbers are finite.
    pub(crate) fn is_finite(&self) -> bool {
        // Not so are those whose exponent has all bits set: where it is the largest, in a form that is computed several at a
        // time.
        let half = |most: u16, b: &[u8; 2]| most.max(u16::from_le_bytes(*b) & 0x7c00);
        let single = |most: u32, b: &[u8; 4]| most.max(u32::from_le_bytes(*b) & 0x7f80_0000);
        let halves = |bytes: &[u8]| bytes.as_chunks().0.iter().fold(0, half) < 0x7c00;
        let singles = |bytes: &[u8]| bytes.as_chunks().0.iter().fold(0, single) < 0x7f80_0000;
        match (&self.data, self.element) {
            (Data::Outside(_), _) => true,
            (Data::Halves(bytes), _) | (Data::Bytes(bytes), ElementType::F16) => halves(bytes),
            (Data::Bytes(bytes), ElementType::F32) => singles(bytes),
            (Data::Bytes(_), ElementType::U8 | ElementType::I8 | ElementType::I32 | ElementType::I64) => true,
        }
    }

    /// Its integers.
    pub(crate) fn as_sizes(&self) -> Option<Vec<i64>> {
        let bytes = self.bytes().filter(|_| self.element == ElementType::I64)?;
        Some(bytes.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect())
    }

    /// Its numbers as the file has them, if that is in half precision.
    pub(crate) fn as_halves(&self) -> Option<Vec<f16>> {
        match &self.data {
            Data::Halves(bytes) => Some(bytes.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b)).collect()),
            _ => None,
        }
    }

    /// Its numbers, in single precision.
    pub(crate) fn as_floats(&self) -> Option<Vec<f32>> {
        let halves = match (&self.data, self.element) {
            (Data::Bytes(bytes), ElementType::F32) => {
                return Some(bytes.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect());
            }
            (Data::Halves(bytes), _) | (Data::Bytes(bytes), ElementType::F16) => bytes,
            _ => return None,
        };
        let mut wide = vec![0f32; halves.len() / 2];
        widen(halves, &mut wide);
        Some(wide)
    }
}

/// Writes the numbers of type f16 in `bytes` to `out` in single precision, several at a time.
pub(super) fn widen(bytes: &[u8], out: &mut [f32]) {
    let mut block = [f16::ZERO; 256];
    for (bytes, out) in bytes.chunks(512).zip(out.chunks_mut(256)) {
        let halves = &mut block[..out.len()];
        halves.iter_mut().zip(bytes.as_chunks().0).for_each(|(half, b)| *half = f16::from_le_bytes(*b));
        halves.convert_to_f32_slice(out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn numbers_are_widened_and_found_finite_as_they_are(bits in prop::collection::vec(any::<u16>(), 1..700)) {
            let bytes: Vec<u8> = bits.iter().flat_map(|n| n.to_le_bytes()).collect();
            let mut weight = Weight {
                name: "w".into(),
                element: ElementType::F16,
                shape: vec![bits.len()],
                data: Data::Halves(bytes.into()),
            };
            let expected: Vec<f32> = bits.iter().map(|&n| f16::from_bits(n).to_f32()).collect();
            let finite = expected.iter().all(|x| x.is_finite());
            let wide = weight.as_floats().expect("numbers");
            prop_assert!(wide.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits() || (a.is_nan() && b.is_nan())));
            prop_assert_eq!(weight.is_finite(), finite);
            weight = Weight::floats("w", ElementType::F32, &[bits.len()], &expected);
            prop_assert_eq!(weight.is_finite(), finite);
            prop_assert_eq!(Weight::floats("w", ElementType::F32, &[1], &[1., f32::MAX, -0.]).is_finite(), true);
        }
    }
}
