//! The same graph in single precision, for processors, which compute in it anyway: what is written in half precision is
//! widened once when it is opened, and nothing is converted between the layers.

use super::weight::widen;
use super::{Data, ElementType, Graph, Node, OWN, Port, Setting, Text, Weight};
use memmap2::{Mmap, MmapMut};
use std::borrow::Cow;

/// `graph` with all weights and values in f32; inputs and outputs stay what they are.
pub(crate) fn widened(mut graph: Graph<'_>) -> Graph<'_> {
    let is_half = |port: &&Port<'_>| port.element == ElementType::F16 as u64;
    if graph.weights.iter().all(|weight| weight.element != ElementType::F16)
        && !graph.inputs.iter().chain(&graph.outputs).any(|port| is_half(&port))
    {
        return graph;
    }
    for weight in &mut graph.weights {
        if weight.element == ElementType::F16 {
            weight.element = ElementType::F32;
            weight.data = match std::mem::replace(&mut weight.data, Data::Bytes(Cow::Borrowed(&[]))) {
                Data::Bytes(bytes) => Data::Halves(bytes),
                other => other,
            };
        }
    }
    let halves = |ports: &[Port<'_>]| ports.iter().filter(is_half).map(|port| port.name.clone().into_owned()).collect();
    let (inputs, outputs): (Vec<String>, Vec<String>) = (halves(&graph.inputs), halves(&graph.outputs));
    for node in &mut graph.nodes {
        for name in node.inputs.iter_mut().chain(&mut node.outputs) {
            if inputs.iter().chain(&outputs).any(|port| port == name) {
                *name = wide(name);
            }
        }
        for attribute in &mut node.attributes {
            if node.op == "Cast" && attribute.value == Setting::Int(ElementType::F16 as i64) {
                attribute.value = Setting::Int(ElementType::F32 as i64);
            }
        }
    }
    let cast = |from: Text<'static>, to: Text<'static>, element: ElementType| {
        Node::new("Cast", vec![from], to).with("to", Setting::Int(element as i64))
    };
    let before: Vec<_> =
        inputs.into_iter().map(|name| cast(name.clone().into(), wide(&name), ElementType::F32)).collect();
    graph.nodes.splice(0..0, before);
    graph.nodes.extend(outputs.into_iter().map(|name| cast(wide(&name), name.into(), ElementType::F16)));
    graph
}

/// The name of the f32 form of an f16 input or output.
fn wide(name: &str) -> Text<'static> {
    format!("{OWN}{name}{WIDE}").into()
}

const WIDE: &str = "/wide";

/// The name in the file of a value.
pub(crate) fn in_file(name: &str) -> &str {
    name.strip_prefix(OWN).and_then(|name| name.strip_suffix(WIDE)).unwrap_or(name)
}

/// Fewer bytes than this are copied to where ONNX Runtime has its own.
const LEAST: usize = 4 << 20;
/// Where weights begin: at multiples of a cache line.
const ALIGNMENT: usize = 64;

/// The widened numbers of a graph, in pages as large as the system has: small ones are made one by one when they are first
/// written to, which takes longer than the widening.
pub(crate) struct Wide(Mmap);

impl Wide {
    /// Those of `graph`; `None` where there are few, or no memory for them.
    pub(crate) fn of(graph: &Graph<'_>) -> Option<Self> {
        let total = graph.weights.iter().filter_map(room).try_fold(0usize, usize::checked_add);
        let mut memory = MmapMut::map_anon(total.filter(|total| *total >= LEAST)?).ok()?;
        // Where it is not to be had, small pages do.
        #[cfg(target_os = "linux")]
        let _ = memory.advise(memmap2::Advice::HugePage);
        let mut rest = &mut memory[..];
        for weight in &graph.weights {
            if let (Data::Halves(halves), Some(room)) = (&weight.data, room(weight)) {
                let (place, after) = rest.split_at_mut(room);
                widen_to_bytes(halves, place);
                rest = after;
            }
        }
        memory.make_read_only().ok().map(Self)
    }

    /// `graph`, which this was made of, with its numbers from here.
    pub(crate) fn put<'a>(&'a self, mut graph: Graph<'a>) -> Graph<'a> {
        let mut rest = &self.0[..];
        for weight in &mut graph.weights {
            let (Some(room), Data::Halves(halves)) = (room(weight), &weight.data) else { continue };
            let (place, after) = rest.split_at(room);
            weight.data = Data::Bytes(Cow::Borrowed(&place[..2 * halves.len()]));
            rest = after;
        }
        graph
    }
}

/// Bytes that a weight takes there, if it is to be widened.
fn room(weight: &Weight<'_>) -> Option<usize> {
    match &weight.data {
        Data::Halves(halves) => Some((2 * halves.len()).next_multiple_of(ALIGNMENT)),
        _ => None,
    }
}

fn widen_to_bytes(halves: &[u8], out: &mut [u8]) {
    let mut block = [0f32; 256];
    for (halves, out) in halves.chunks(512).zip(out.chunks_mut(1024)) {
        let numbers = &mut block[..halves.len() / 2];
        widen(halves, numbers);
        out.as_chunks_mut().0.iter_mut().zip(numbers).for_each(|(out, x)| *out = x.to_ne_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widened_numbers_are_those_of_the_weights_wherever_they_are() {
        let halves = |name: &'static str, len: usize| {
            let bytes: Vec<u8> = (0..len).flat_map(|i| (i as u16).to_le_bytes()).collect();
            Weight { name: name.into(), element: ElementType::F32, shape: vec![len], data: Data::Halves(bytes.into()) }
        };
        let sizes = Weight::sizes("s", &[1]);
        let few = Graph { weights: vec![halves("a", 1000)], ..Graph::default() };
        assert!(Wide::of(&few).is_none());
        let graph = Graph { weights: vec![halves("a", 700_001), sizes, halves("b", 3), halves("c", 500_000)], ..few };
        let wide = Wide::of(&graph).expect("enough");
        let put = wide.put(graph.clone());
        for (before, after) in graph.weights.iter().zip(&put.weights) {
            assert_eq!(before.as_sizes(), after.as_sizes());
            let bits = |weight: &Weight<'_>| {
                weight.as_floats().map(|all| all.into_iter().map(f32::to_bits).collect::<Vec<_>>())
            };
            assert!(bits(before) == bits(after), "{before}");
            let is_there =
                matches!(&after.data, Data::Bytes(Cow::Borrowed(bytes)) if bytes.as_ptr().addr() % ALIGNMENT == 0);
            assert!(is_there || after.name == "s");
        }
    }
}
