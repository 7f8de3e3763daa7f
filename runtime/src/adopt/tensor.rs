//! Constants of a foreign file, in all the element types that exporters write sizes, flags and numbers in.

use crate::graph::{Data, ElementType, Weight};
use half::f16;
use std::borrow::Cow;
use std::fmt;

/// Element types, with their number in ONNX.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    F32 = 1,
    U8 = 2,
    I32 = 6,
    I64 = 7,
    Bool = 9,
    F16 = 10,
    F64 = 11,
}

impl Kind {
    pub(super) fn from_number(number: u64) -> Option<Self> {
        let all = [Self::F32, Self::U8, Self::I32, Self::I64, Self::Bool, Self::F16, Self::F64];
        all.into_iter().find(|kind| *kind as u64 == number)
    }

    pub(super) fn size(self) -> usize {
        match self {
            Self::U8 | Self::Bool => 1,
            Self::F16 => 2,
            Self::F32 | Self::I32 => 4,
            Self::I64 | Self::F64 => 8,
        }
    }

    pub(super) fn is_float(self) -> bool {
        matches!(self, Self::F16 | Self::F32 | Self::F64)
    }
}

/// A constant.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Tensor<'a> {
    pub(super) kind: Kind,
    pub(super) shape: Vec<usize>,
    /// Little-endian.
    pub(super) data: Cow<'a, [u8]>,
}

impl fmt::Display for Tensor<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {:?}", crate::graph::type_name(self.kind as u64), self.shape)
    }
}

/// Number of elements, if it can be counted.
pub(super) fn volume(shape: &[usize]) -> Option<usize> {
    shape.iter().try_fold(1usize, |product, &n| product.checked_mul(n))
}

impl<'a> Tensor<'a> {
    pub(super) fn len(&self) -> usize {
        self.data.len() / self.kind.size()
    }

    pub(super) fn of_ints(shape: &[usize], all: &[i64]) -> Self {
        Self::from_ints(Kind::I64, shape, all)
    }

    /// Integers as elements of a type, cut to it as ONNX Runtime cuts them.
    pub(super) fn from_ints(kind: Kind, shape: &[usize], all: &[i64]) -> Self {
        if kind.is_float() {
            return Self::from_numbers(kind, shape, &all.iter().map(|&n| n as f64).collect::<Vec<_>>());
        }
        let mut data = Vec::with_capacity(all.len() * kind.size());
        for &n in all {
            match kind {
                Kind::U8 => data.push(n as u8),
                Kind::Bool => data.push(u8::from(n != 0)),
                Kind::I32 => data.extend((n as i32).to_le_bytes()),
                _ => data.extend(n.to_le_bytes()),
            }
        }
        Self { kind, shape: shape.to_vec(), data: data.into() }
    }

    /// Numbers as elements of a type.
    pub(super) fn from_numbers(kind: Kind, shape: &[usize], all: &[f64]) -> Self {
        let mut data = Vec::with_capacity(all.len() * kind.size());
        for &x in all {
            match kind {
                Kind::F16 => data.extend(f16::from_f64(x).to_le_bytes()),
                Kind::F32 => data.extend((x as f32).to_le_bytes()),
                Kind::F64 => data.extend(x.to_le_bytes()),
                _ => return Self::from_ints(kind, shape, &all.iter().map(|&x| as_int(kind, x)).collect::<Vec<_>>()),
            }
        }
        Self { kind, shape: shape.to_vec(), data: data.into() }
    }

    /// The elements as integers, if they are whole numbers or flags.
    pub(super) fn ints(&self) -> Option<Vec<i64>> {
        Some(match self.kind {
            Kind::U8 | Kind::Bool => self.data.iter().map(|&n| n.into()).collect(),
            Kind::I32 => self.data.as_chunks().0.iter().map(|b| i32::from_le_bytes(*b).into()).collect(),
            Kind::I64 => self.data.as_chunks().0.iter().map(|b| i64::from_le_bytes(*b)).collect(),
            Kind::F16 | Kind::F32 | Kind::F64 => return None,
        })
    }

    /// The elements as numbers.
    pub(super) fn numbers(&self) -> Vec<f64> {
        match self.kind {
            Kind::F16 => self.data.as_chunks().0.iter().map(|b| f16::from_le_bytes(*b).to_f64()).collect(),
            Kind::F32 => self.data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b).into()).collect(),
            Kind::F64 => self.data.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect(),
            _ => self.ints().unwrap_or_default().into_iter().map(|n| n as f64).collect(),
        }
    }

    /// The one number that it is.
    pub(super) fn number(&self) -> Option<f64> {
        (self.len() == 1).then(|| self.numbers()[0])
    }

    /// The same elements in another shape.
    pub(super) fn shaped(&self, shape: &[usize]) -> Result<Self, String> {
        match volume(shape) == Some(self.len()) {
            true => Ok(Self { shape: shape.to_vec(), ..self.clone() }),
            false => Err(format!("cannot bring {self} to the shape {shape:?}")),
        }
    }

    /// The elements at these places, in their order.
    pub(super) fn taken(&self, shape: &[usize], places: impl Iterator<Item = usize>) -> Self {
        let size = self.kind.size();
        let data: Vec<u8> = places.flat_map(|at| self.data[at * size..][..size].iter().copied()).collect();
        Self { kind: self.kind, shape: shape.to_vec(), data: data.into() }
    }

    /// The same as another type.
    pub(super) fn cast(&self, kind: Kind) -> Self {
        match self.ints() {
            _ if kind == self.kind => self.clone(),
            Some(all) => Self::from_ints(kind, &self.shape, &all),
            None => Self::from_numbers(kind, &self.shape, &self.numbers()),
        }
    }

    /// As a weight of this name: whole numbers as i64, which all of them are in a generator.
    pub(super) fn weight(&self, name: String) -> Result<Weight<'a>, String> {
        let (element, tensor) = match self.kind {
            Kind::F16 => (ElementType::F16, self.clone()),
            Kind::F32 => (ElementType::F32, self.clone()),
            Kind::I64 => (ElementType::I64, self.clone()),
            Kind::I32 => (ElementType::I64, self.cast(Kind::I64)),
            _ => return Err(format!("computes images from {self}; export it in f32 or f16")),
        };
        Ok(Weight { name: name.into(), element, shape: tensor.shape, data: Data::Bytes(tensor.data) })
    }
}

/// A number as an element of a type of whole numbers or flags.
fn as_int(kind: Kind, x: f64) -> i64 {
    match kind {
        Kind::Bool => i64::from(x != 0.),
        _ => x as i64,
    }
}
