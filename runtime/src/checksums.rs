//! Checksums of a generator's graph and of each of its weights: what a self-test of a few values cannot notice.
//!
//! A CRC-32C (Castagnoli) each, which processors compute at the speed of memory. That of a weight is of its elements'
//! bytes in the file. That of the graph is of everything else that decides what is computed, in a form of our own that does
//! not depend on how a tool has laid the file out: see `graph`.

use crate::error::Fault;
use crate::graph::{Attribute, Data, Graph, Port, Setting, read};
use crate::model::InfoError;
use crate::text::shown;
use std::fmt::Write as _;

const GRAPH: &str = "kiln.graph_crc32c";
const WEIGHTS: &str = "kiln.weights_crc32c";
/// What to do about damage.
const AGAIN: &str = "copy it again, or export it again with `trainer --export`";

/// Checksums of a generator.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checksums {
    /// Of the graph without its weights' elements.
    pub graph: u32,
    /// Of the elements of each weight, by its name.
    pub weights: Vec<(String, u32)>,
}

impl Checksums {
    /// The checksums of an ONNX file with its weights inside, to be added to the metadata that it has.
    ///
    /// # Errors
    /// A file that this crate does not read, or with weights elsewhere.
    pub fn of(onnx: &[u8]) -> Result<Self, String> {
        let model = read(onnx).map_err(|fault| fault.what)?;
        let weights = model.graph.weights.iter().filter(|weight| weight.element.is_float()).map(|weight| {
            let bytes = weight.bytes().ok_or_else(|| format!("has {weight} in another file"))?;
            Ok((weight.name.clone().into_owned(), crc32c::crc32c(bytes)))
        });
        let classes = model.metadata("kiln.classes").and_then(|n| n.parse().ok()).unwrap_or(0);
        Ok(Self { graph: graph(&model.graph, classes), weights: weights.collect::<Result<_, String>>()? })
    }

    pub(crate) fn to_metadata(&self) -> [(&'static str, String); 2] {
        let mut lines = String::new();
        for (name, sum) in &self.weights {
            // Writing to a String cannot fail.
            let _ = writeln!(lines, "{sum:08x} {name}");
        }
        [(GRAPH, format!("{:08x}", self.graph)), (WEIGHTS, lines)]
    }

    /// Reads what [`Self::to_metadata`] wrote; `None` where there are none.
    pub(crate) fn from_metadata(get: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, InfoError> {
        let fail = |key: &'static str, what: &str| InfoError::new(key, what);
        let (graph, weights) = match (get(GRAPH), get(WEIGHTS)) {
            (None, None) => return Ok(None),
            (Some(graph), Some(weights)) => (graph, weights),
            (None, _) => return Err(fail(GRAPH, "is missing, but that of the weights is there")),
            (_, None) => return Err(fail(WEIGHTS, "is missing, but that of the graph is there")),
        };
        let number = |text: &str| u32::from_str_radix(text, 16).ok().filter(|_| text.len() == 8);
        let graph = number(&graph).ok_or_else(|| fail(GRAPH, "is no number of eight hexadecimal digits"))?;
        let line = |line: &str| {
            let (sum, name) = line.split_once(' ')?;
            Some((name.to_owned(), number(sum)?))
        };
        let weights = weights.lines().map(line).collect::<Option<Vec<_>>>();
        let weights =
            weights.ok_or_else(|| fail(WEIGHTS, "has lines other than `<eight hexadecimal digits> <name>`"))?;
        Ok(Some(Self { graph, weights }))
    }

    /// Checks a graph without its weights' elements, of a generator with so many classes.
    pub(crate) fn check_graph(&self, found: &Graph<'_>, classes: usize) -> Result<(), Fault> {
        match graph(found, classes) == self.graph {
            true => Ok(()),
            false => Err(Fault::damaged(format!("is damaged: its graph is not the one that was written; {AGAIN}"))),
        }
    }

    /// Checks the elements of all weights of a graph.
    pub(crate) fn check_weights(&self, graph: &Graph<'_>) -> Result<(), Fault> {
        let mut count = 0;
        for weight in graph.weights.iter().filter(|weight| weight.element.is_float()) {
            let sum = self.weights.iter().find(|(name, _)| *name == weight.name).map(|(_, sum)| *sum);
            if sum.is_none() || weight.bytes().map(crc32c::crc32c) != sum {
                let name = shown(&weight.name);
                let what = format!("is damaged: the weight {name} is not the one that was written; {AGAIN}");
                return Err(Fault::damaged(what));
            }
            count += 1;
        }
        match self.weights.len() == count {
            true => Ok(()),
            false => {
                let written = self.weights.len();
                Err(Fault::damaged(format!("is damaged: {written} weights were written, it has {count}; {AGAIN}")))
            }
        }
    }
}

/// The checksum of everything that decides what is computed, but for the numbers of the weights: version of the operators,
/// inputs and outputs, nodes in their order, shapes of weights, and integers, which are sizes, axes and what is quantised.
/// What a file may have in any order is sorted; texts are given with their lengths, so that none runs into the next. Of the
/// description it has the number of classes, on which it depends which one an index draws, and which no shape shows.
fn graph(graph: &Graph<'_>, classes: usize) -> u32 {
    let mut sum = Sum(0);
    sum.number(graph.opset);
    for ports in [&graph.inputs, &graph.outputs] {
        sum.sorted(
            ports,
            |port: &Port<'_>| &port.name,
            |sum, port| {
                sum.number(port.element as i64);
                sum.numbers(port.shape.iter().map(|size| size.map_or(-1, |n| n as i64)));
            },
        );
    }
    sum.sorted(
        &graph.weights,
        |weight| &weight.name,
        |sum, weight| {
            sum.number(weight.element as i64);
            sum.numbers(weight.shape.iter().map(|&n| n as i64));
            if let (false, Data::Bytes(bytes)) = (weight.element.is_float(), &weight.data) {
                sum.bytes(bytes);
            }
        },
    );
    sum.number(graph.nodes.len() as i64);
    for node in &graph.nodes {
        sum.bytes(node.op.as_bytes());
        for names in [&node.inputs, &node.outputs] {
            sum.number(names.len() as i64);
            names.iter().for_each(|name| sum.bytes(name.as_bytes()));
        }
        sum.sorted(
            &node.attributes,
            |attribute| &attribute.name,
            |sum, Attribute { value, .. }| match value {
                Setting::Float(x) => sum.numbers([1, x.to_bits().into()].into_iter()),
                Setting::Int(n) => sum.numbers([2, *n].into_iter()),
                Setting::Text(text) => sum.bytes(text.as_bytes()),
                Setting::Ints(all) => sum.numbers(all.iter().copied()),
            },
        );
    }
    if classes > 0 {
        sum.number(classes as i64);
    }
    sum.0
}

/// A checksum in the making.
struct Sum(u32);

impl Sum {
    fn number(&mut self, n: i64) {
        self.0 = crc32c::crc32c_append(self.0, &n.to_le_bytes());
    }

    fn numbers(&mut self, all: impl ExactSizeIterator<Item = i64>) {
        self.number(all.len() as i64);
        all.for_each(|n| self.number(n));
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.number(bytes.len() as i64);
        self.0 = crc32c::crc32c_append(self.0, bytes);
    }

    fn sorted<T>(&mut self, all: &[T], name: impl Fn(&T) -> &str, mut each: impl FnMut(&mut Self, &T)) {
        let mut all: Vec<&T> = all.iter().collect();
        all.sort_by(|a, b| name(a).cmp(name(b)));
        self.number(all.len() as i64);
        for item in all {
            self.bytes(name(item).as_bytes());
            each(self, item);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_classes_is_part_of_the_graph() {
        let path = format!("{}/tests/fixtures/conditional.onnx", env!("CARGO_MANIFEST_DIR"));
        let mut file = std::fs::read(path).expect("reads");
        let before = Checksums::of(&file).expect("has its weights inside");
        let entry = b"kiln.classes\x12\x0210";
        let at = file.windows(entry.len()).position(|window| window == entry).expect("has ten classes");
        file[at + entry.len() - 2..][..2].copy_from_slice(b"03");
        let after = Checksums::of(&file).expect("has its weights inside");
        assert_ne!(after.graph, before.graph);
        assert_eq!(after.weights, before.weights);
    }
}
