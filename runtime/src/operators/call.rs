//! A node that is being checked: what it is given, and the rules that many operators share.

use super::{Alike, Typed, Values};
use crate::graph::{ElementType, Node, Setting, Weight};
use crate::text::shown;
use std::collections::HashMap;

/// Elements that a processor computes at a time, at most: of what is no multiple of them the last ones are computed
/// otherwise.
const TOGETHER: usize = 16;

/// What a node makes.
pub(super) struct Made {
    pub(super) outputs: Vec<Typed>,
    /// Multiplications for a sample.
    pub(super) products: u64,
    /// Elements of working memory for a sample.
    pub(super) scratch: u64,
    /// When a sample has the same bits as alone.
    pub(super) alike: Alike,
}

impl Made {
    /// One value, made with little work.
    pub(super) fn one(value: Typed) -> Result<Self, String> {
        Ok(Self::all(vec![value]))
    }

    /// Values that are made with little work for each element: counted as what a few multiplications take.
    pub(super) fn all(outputs: Vec<Typed>) -> Self {
        let products = outputs.iter().map(|value| volume(&value.sizes).unwrap_or(usize::MAX) as u64);
        let products = products.fold(0, u64::saturating_add).saturating_mul(EACH);
        Self { products, scratch: 0, outputs, alike: Alike::Always }
    }

    /// One value, each of whose elements takes so many multiplications.
    pub(super) fn product(value: Typed, each: Option<usize>, scratch: u64) -> Result<Self, String> {
        let products = volume(&value.sizes).and_then(|len| (len as u64).checked_mul(each? as u64));
        let products = products.ok_or("takes more work than can be counted")?;
        Ok(Self { outputs: vec![value], products, scratch, alike: Alike::Always })
    }

    /// What ONNX Runtime computes in runs of several elements from where a thread's part or a channel begins, and what is
    /// left over in another way: `run` is the length after which the next one begins.
    pub(super) fn in_runs(self, run: usize) -> Self {
        let alike = if run.is_multiple_of(TOGETHER) { Alike::OneThread } else { Alike::Alone };
        Self { alike, products: self.products.saturating_mul(SLOW / EACH), ..self }
    }

    /// What has other bits in another batch for other reasons.
    pub(super) fn alone(self) -> Self {
        Self { alike: Alike::Alone, ..self }
    }
}

/// Multiplications that a function of an element, or its way from memory and back, takes the time of.
const EACH: u64 = 32;
/// And that a slow function does.
const SLOW: u64 = 512;
/// Most numbers of a list that is an input in the file: two for each axis, and as many again.
pub(crate) const MAX_LIST: usize = 64;

/// Number of elements, if it can be counted.
pub(super) fn volume(sizes: &[usize]) -> Option<usize> {
    sizes.iter().try_fold(1usize, |product, &n| product.checked_mul(n)).filter(|n| *n <= u32::MAX as usize)
}

/// A node with what it takes.
pub(super) struct Call<'c> {
    node: &'c Node<'c>,
    /// Version of the operators.
    pub(super) opset: i64,
    inputs: Vec<Option<&'c Typed>>,
    weights: &'c HashMap<&'c str, &'c Weight<'c>>,
}

impl<'c> Call<'c> {
    pub(super) fn new(
        node: &'c Node<'c>,
        opset: i64,
        values: &'c Values,
        weights: &'c HashMap<&'c str, &'c Weight<'c>>,
    ) -> Result<Self, String> {
        let input = |name: &'c crate::graph::Text<'_>| match values.0.get(&**name) {
            _ if name.is_empty() => Ok(None),
            Some(value) => Ok(Some(value)),
            None => Err(format!("takes {}, which nothing before it makes", shown(name))),
        };
        let inputs = node.inputs.iter().map(input).collect::<Result<_, _>>()?;
        Ok(Self { node, opset, inputs, weights })
    }

    /// Input `i`, which must be there.
    pub(super) fn input(&self, i: usize) -> Result<&'c Typed, String> {
        self.optional(i).ok_or_else(|| format!("lacks its input {i}"))
    }

    /// Input `i`, if it is there.
    pub(super) fn optional(&self, i: usize) -> Option<&'c Typed> {
        self.inputs.get(i).copied().flatten()
    }

    /// Checks the number of inputs.
    pub(super) fn takes(&self, least: usize, most: usize) -> Result<(), String> {
        match self.inputs.len() {
            n if (least..=most).contains(&n) => Ok(()),
            n => Err(format!("takes {n} inputs, allowed is {least} to {most}")),
        }
    }

    /// How many inputs there are.
    pub(super) fn len(&self) -> usize {
        self.inputs.len()
    }

    /// Whether it is this operator.
    pub(super) fn is(&self, op: &str) -> bool {
        self.node.op == op
    }

    /// How many values it gives.
    pub(super) fn gives(&self) -> usize {
        self.node.outputs.len()
    }

    /// Input `i`, of numbers.
    pub(super) fn floats(&self, i: usize) -> Result<&'c Typed, String> {
        let input = self.input(i)?;
        match input.element.is_float() {
            true => Ok(input),
            false => Err(format!("takes {input}, allowed are f16 and f32")),
        }
    }

    /// Input `i`, if it is there: a constant of the type `element` and of this shape.
    pub(super) fn constant(&self, i: usize, element: ElementType, sizes: &[usize]) -> Result<(), String> {
        match self.optional(i) {
            None => Ok(()),
            Some(value) if !value.per_sample && value.element == element && value.sizes == sizes => Ok(()),
            Some(value) => {
                Err(format!("takes {value} as input {i}, which must be {element} {sizes:?} for all samples"))
            }
        }
    }

    /// The numbers of input `i`, a list of integers in the file; `None` if it is left out.
    pub(super) fn numbers(&self, i: usize) -> Result<Option<Vec<i64>>, String> {
        match self.node.inputs.get(i).filter(|name| !name.is_empty()) {
            None => Ok(None),
            Some(name) => {
                let weight = self.weights.get(&**name).filter(|weight| weight.shape.len() <= 1);
                let weight = weight.filter(|weight| weight.len().is_some_and(|len| len <= MAX_LIST));
                let numbers = weight.and_then(|weight| weight.as_sizes());
                numbers.map(Some).ok_or_else(|| {
                    format!("takes {} as input {i}, which must be at most {MAX_LIST} integers in the file", shown(name))
                })
            }
        }
    }

    /// The numbers of input `i`, a list of f32 in the file.
    pub(super) fn scales(&self, i: usize) -> Result<Option<Vec<f32>>, String> {
        match self.node.inputs.get(i).filter(|name| !name.is_empty()) {
            None => Ok(None),
            Some(name) => {
                let weight = self.weights.get(&**name).filter(|weight| weight.element == ElementType::F32);
                let weight = weight.filter(|weight| weight.len().is_some_and(|len| len <= MAX_LIST));
                let numbers = weight.filter(|weight| weight.shape.len() == 1).and_then(|weight| weight.as_floats());
                numbers.map(Some).ok_or_else(|| {
                    format!(
                        "takes {} as input {i}, which must be at most {MAX_LIST} numbers of f32 in the file",
                        shown(name)
                    )
                })
            }
        }
    }

    /// The most elements of a constant that it takes.
    pub(super) fn largest_constant(&self) -> usize {
        let constants = self.inputs.iter().flatten().filter(|value| !value.per_sample);
        constants.filter_map(|value| volume(&value.sizes)).max().unwrap_or(0)
    }

    /// An integer attribute.
    pub(super) fn int(&self, name: &str, default: i64) -> Result<i64, String> {
        match self.node.attribute(name) {
            None => Ok(default),
            Some(Setting::Int(n)) => Ok(*n),
            Some(_) => Err(format!("has {name} of another type than an integer")),
        }
    }

    /// An integer attribute that is one of `allowed`.
    pub(super) fn choice(&self, name: &str, default: i64, allowed: &[i64]) -> Result<i64, String> {
        match self.int(name, default)? {
            n if allowed.contains(&n) => Ok(n),
            n => Err(format!("has {name} {n}, allowed is {allowed:?}")),
        }
    }

    /// An attribute that is a number.
    pub(super) fn float(&self, name: &str) -> Result<Option<f32>, String> {
        match self.node.attribute(name) {
            None => Ok(None),
            Some(Setting::Float(x)) => Ok(Some(*x)),
            Some(_) => Err(format!("has {name} of another type than a number")),
        }
    }

    /// An attribute that is a word, one of `allowed`, of which the first is the default.
    pub(super) fn word(&self, name: &str, allowed: &[&'static str]) -> Result<&'static str, String> {
        let found = match self.node.attribute(name) {
            None => return Ok(allowed[0]),
            Some(Setting::Text(text)) => text,
            Some(_) => return Err(format!("has {name} of another type than a word")),
        };
        let word = allowed.iter().find(|word| *word == found);
        word.copied().ok_or_else(|| format!("has {name} {}, allowed is {}", shown(found), allowed.join(", ")))
    }

    /// An attribute that is a list of integers.
    pub(super) fn ints(&self, name: &str) -> Result<Option<&'c [i64]>, String> {
        match self.node.attribute(name) {
            None => Ok(None),
            Some(Setting::Ints(numbers)) => Ok(Some(numbers)),
            Some(_) => Err(format!("has {name} of another type than a list of integers")),
        }
    }

    /// An axis of `value` by its number in the file, as an index into its sizes.
    pub(super) fn axis(&self, value: &Typed, axis: i64) -> Result<usize, String> {
        let rank = value.rank() as i64;
        let at = if axis < 0 { axis.saturating_add(rank) } else { axis };
        match at {
            0 if value.per_sample => Err(format!("works along axis {axis}, which would mix samples")),
            at if (0..rank).contains(&at) => Ok(at as usize - usize::from(value.per_sample)),
            _ => Err(format!("works along axis {axis} of {value}")),
        }
    }

    /// Axes of `value`, each once, in the order of the file.
    pub(super) fn axes(&self, value: &Typed, axes: &[i64]) -> Result<Vec<usize>, String> {
        let all = axes.iter().map(|&axis| self.axis(value, axis)).collect::<Result<Vec<_>, _>>()?;
        match (1..all.len()).find(|&i| all[..i].contains(&all[i])) {
            Some(i) => Err(format!("works along axis {} twice", axes[i])),
            None => Ok(all),
        }
    }

    /// The shape of values that are brought to one by repeating sizes of 1.
    pub(super) fn broadcast(&self) -> Result<Typed, String> {
        let first = self.input(0)?;
        let per_sample = self.inputs.iter().flatten().any(|value| value.per_sample);
        let rank = self.inputs.iter().flatten().map(|value| value.rank()).max().unwrap_or(0);
        let mut sizes = vec![1usize; rank - usize::from(per_sample)];
        for i in 0..self.len() {
            let value = self.input(i)?;
            if value.element != first.element {
                return Err(format!("takes {first} and {value}, allowed is one type"));
            }
            let wrong = || format!("takes {first} and {value}, which do not fit");
            // The first axis of what there is for each sample must stay the first, and nothing else may come to lie there.
            let own = match (per_sample, value.per_sample) {
                (true, true) if value.rank() == rank => &value.sizes[..],
                (true, false) if value.rank() == rank => match value.sizes.split_first() {
                    Some((1, rest)) => rest,
                    _ => return Err(wrong()),
                },
                (true, true) => return Err(wrong()),
                _ => &value.sizes[..],
            };
            let from = sizes.len() - own.len();
            for (size, &n) in sizes[from..].iter_mut().zip(own) {
                *size = match (*size, n) {
                    (1, n) => n,
                    (size, 1) => size,
                    (size, n) if size == n => n,
                    _ => return Err(wrong()),
                };
            }
        }
        Ok(Typed { element: first.element, per_sample, sizes })
    }
}
