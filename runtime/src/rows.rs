//! The same bits for a sample, however many there are in a batch and however many threads compute them.
//!
//! ONNX Runtime's products of matrices do not all keep to that (MLAS, `sgemm.cpp`):
//!
//! - One row has a kernel of its own, which adds up in another order than the one for several, where the right matrix lies
//!   as in the file and the factor `alpha` is 1. So those are written with 2 for `alpha`, and their rows halved: both are
//!   exact.
//! - One column is computed as a row, with the same consequence.
//! - Sums over more than 128 numbers are made in parts, whose length depends on the number of columns that a thread has,
//!   where these are few. Right matrices that are arranged beforehand have parts of one length; for convolutions, whose
//!   right matrix is the image, one thread is used where it matters.

use crate::graph::{ElementType, Graph, Node, OWN, Setting, Text, Weight};
use crate::operators::{Checked, Typed};

/// Columns of a matrix that are computed together at least: a thread has a multiple of them.
const COLUMNS: usize = 16;
/// Channels that convolutions can be blocked by on all processors that block them: these are no products of matrices.
const BLOCK: usize = 16;

/// Whether the bits of sums over `inner` numbers may depend on how many of so many threads share the `columns`.
fn is_shared(inner: usize, columns: usize, threads: usize) -> bool {
    // Numbers that are added up at a time.
    let part = |columns: usize| match columns {
        65.. => 128,
        33..=64 => 256,
        17..=32 => 512,
        _ => 1024,
    };
    threads > 1 && columns > COLUMNS && inner > part(columns) && columns / threads <= 64 + COLUMNS
}

/// Of `threads`, how many give each sum the bits that one gives: all or one. `arranged` is whether the right matrices of
/// products are arranged beforehand.
pub(crate) fn threads(graph: &Graph<'_>, checked: &Checked, threads: usize, arranged: bool) -> usize {
    let volume = |sizes: &[usize]| sizes.iter().product::<usize>();
    let depends = |node: &Node<'_>| {
        // What was made when it was rewritten is a weight.
        let made = |name: &str| {
            let weight = graph.weight(name)?;
            Some(Typed { element: weight.element, per_sample: false, sizes: weight.shape.clone() })
        };
        let value = |name: Option<&Text<'_>>| name.and_then(|name| checked.value(name).cloned().or_else(|| made(name)));
        let (Some(x), Some(w), Some(y)) =
            (value(node.inputs.first()), value(node.inputs.get(1)), value(node.outputs.first()))
        else {
            return false;
        };
        match &*node.op {
            "Conv" => {
                let is_blocked = cfg!(target_arch = "x86_64")
                    && x.sizes.len() == 3
                    && node.int("group").is_none_or(|groups| groups == 1)
                    && w.sizes[0].is_multiple_of(BLOCK)
                    && w.sizes[1].is_multiple_of(BLOCK);
                !is_blocked && is_shared(volume(&w.sizes[1..]), volume(&y.sizes[1..]), threads)
            }
            "ConvTranspose" => {
                let (rows, columns) = (volume(&w.sizes[1..]), volume(&x.sizes[1..]));
                columns > rows && is_shared(w.sizes[0], columns, threads)
            }
            "Gemm" if !arranged => {
                is_shared(x.sizes[x.sizes.len() - 1], w.sizes[usize::from(node.int("transB") != Some(1))], threads)
            }
            // Where both sides are computed, nothing can be.
            "MatMul" if !arranged || w.per_sample || !x.per_sample => {
                is_shared(x.sizes[x.sizes.len() - 1], w.sizes[w.sizes.len() - 1], threads)
            }
            _ => false,
        }
    };
    if graph.nodes.iter().any(depends) { 1 } else { threads }
}

/// `graph` with its products written so that a row has the same bits among any number of rows, and whether that is enough
/// for all of them; else their right matrices must be arranged beforehand.
pub(crate) fn alike<'a>(mut graph: Graph<'a>, checked: &Checked) -> (Graph<'a>, bool) {
    let half: Text<'a> = format!("{OWN}half").into();
    let (mut nodes, mut used, mut all) = (Vec::new(), false, true);
    for (i, mut node) in std::mem::take(&mut graph.nodes).into_iter().enumerate() {
        let input = |at: usize| node.inputs.get(at).and_then(|name: &Text<'_>| checked.value(name));
        let is_product = match (&*node.op, input(0), input(1)) {
            ("Gemm", Some(rows), _) => rows.per_sample,
            ("MatMul", Some(Typed { per_sample: true, sizes, .. }), Some(weight)) if !weight.per_sample => {
                // Where samples are the rows, it is written as the other kind of product.
                let is_plain = sizes.len() == 1 && weight.sizes.len() == 2;
                if is_plain {
                    node.op = "Gemm".into();
                }
                // One row for each sample is one row where there is one sample, and one column is computed as a row.
                let rows: usize = sizes.iter().rev().skip(1).product();
                all &= is_plain || (rows > 1 && weight.sizes[weight.sizes.len() - 1] > 1);
                is_plain
            }
            _ => false,
        };
        let is_one = node.attribute("alpha").is_none_or(|alpha| *alpha == Setting::Float(1.));
        if is_product && is_one {
            node.attributes.retain(|attribute| attribute.name != "alpha");
            let name: Text<'a> = format!("{OWN}half of {i}").into();
            nodes.push(Node::new("Mul", vec![node.inputs[0].clone(), half.clone()], name.clone()));
            node.inputs[0] = name;
            node = node.with("alpha", Setting::Float(2.));
            used = true;
        }
        nodes.push(node);
    }
    graph.nodes = nodes;
    if used {
        graph.weights.push(Weight { shape: Vec::new(), ..Weight::floats(half, ElementType::F32, &[1], &[0.5]) });
    }
    (graph, all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::environment;
    use crate::graph::{Port, build};
    use crate::model::{INPUT_LATENT, OUTPUT_IMAGE, plain};
    use crate::operators::check;
    use ort::session::builder::SessionBuilder;
    use ort::value::Tensor;
    use proptest::prelude::*;

    /// z [N, inner] -> products with weights -> image [N, 1, 1, outputs].
    fn graph(inner: usize, outputs: usize, gemm: bool, bias: bool) -> Graph<'static> {
        let port = |name: &'static str, sizes: &[usize]| Port {
            name: name.into(),
            element: ElementType::F32 as u64,
            shape: std::iter::once(None).chain(sizes.iter().map(|&n| Some(n))).collect(),
        };
        let numbers = |name: &'static str, shape: &[usize]| {
            let len = shape.iter().product::<usize>();
            let values: Vec<f32> = (0..len).map(|i| (i as f32 * 1.618).sin() * 3. / (inner as f32).sqrt()).collect();
            Weight::floats(name, ElementType::F32, shape, &values)
        };
        let mut weights = vec![numbers("w", &[inner, outputs]), Weight::sizes("out", &[-1, 1, 1, outputs as i64])];
        let mut inputs: Vec<Text<'static>> = vec!["z".into(), "w".into()];
        if bias {
            weights.push(numbers("b", &[outputs]));
        }
        if gemm && bias {
            inputs.push("b".into());
        }
        let mut nodes = vec![Node::new(if gemm { "Gemm" } else { "MatMul" }, inputs, "h".into())];
        if bias && !gemm {
            nodes.push(Node::new("Add", vec!["h".into(), "b".into()], "sum".into()));
        }
        let last = nodes[nodes.len() - 1].outputs[0].clone();
        nodes.push(Node::new("Reshape", vec![last, "out".into()], OUTPUT_IMAGE.into()));
        let ports = (vec![port(INPUT_LATENT, &[inner])], vec![port(OUTPUT_IMAGE, &[1, 1, outputs])]);
        Graph { opset: 17, inputs: ports.0, outputs: ports.1, weights, nodes }
    }

    fn checked(graph: &Graph<'_>, inner: usize, outputs: usize) -> Checked {
        check(graph, &plain(inner, outputs)).expect("is a generator")
    }

    /// The bits of the images of batches of these sizes, from the first latent on.
    fn drawn(graph: &Graph<'_>, inner: usize, threads: usize, arranged: bool, batches: &[usize]) -> Vec<Vec<u32>> {
        let builder = SessionBuilder::new(environment().expect("a library")).expect("a builder");
        let builder =
            builder.with_intra_threads(threads).expect("threads").with_prepacking(arranged).expect("an option");
        // SAFETY: all weights are the graph's own, and copied.
        let session = unsafe { build::session(graph, &builder) }.expect("loads");
        let run = |&n: &usize| {
            let z: Vec<f32> = (0..n * inner).map(|i| (i as f32 * 0.7).sin() * 2.).collect();
            let z = Tensor::from_array(([n, inner], z)).expect("fits").into_dyn();
            let image = session.run(&[(c"z", z)], c"image").expect("runs");
            image.try_extract_tensor::<f32>().expect("numbers").1.iter().map(|x| x.to_bits()).collect()
        };
        batches.iter().map(run).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

        #[test]
        fn a_row_has_the_same_bits_among_any_number_of_rows(
            inner in 1usize..600, outputs in 1usize..300, gemm: bool, bias: bool,
        ) {
            let graph = graph(inner, outputs, gemm, bias);
            let checked = checked(&graph, inner, outputs);
            for arranged in [false, true] {
                let mut whole = Vec::new();
                for threads in [1, 2, 3, 8] {
                    let threads = self::threads(&graph, &checked, threads, arranged);
                    let (graph, all) = if arranged { (graph.clone(), true) } else { alike(graph.clone(), &checked) };
                    prop_assert!(all);
                    let parts = drawn(&graph, inner, threads, arranged, &[16, 1, 2, 3, 5]);
                    whole = if whole.is_empty() { parts[0].clone() } else { whole };
                    for part in &parts {
                        prop_assert!(part == &whole[..part.len()], "{} rows, {threads} threads", part.len() / outputs);
                    }
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 60, max_global_rejects: 100_000, ..ProptestConfig::default() })]

        #[test]
        fn a_convolution_has_the_same_bits_in_any_batch_and_with_any_threads(
            inputs in 1usize..400, outputs in 1usize..20, sides in prop::array::uniform2(1usize..14), transposed: bool,
            kernel in 1usize..5, arranged: bool, groups in 1usize..4,
        ) {
            let [h, w] = sides;
            let (inner, kernel) = (groups * inputs * h * w, kernel.min(h).min(w));
            let shape = match transposed {
                true => [groups * inputs, outputs, kernel, kernel],
                false => [groups * outputs, inputs, kernel, kernel],
            };
            let side = |n: usize| if transposed { n + kernel - 1 } else { n + 1 - kernel };
            let len = groups * outputs * side(h) * side(w);
            prop_assume!(len <= 4096 && inner <= 4096);
            let mut graph = graph(inner, len, false, false);
            let values = (0..shape.iter().product()).map(|i: usize| (i as f32 * 1.618).sin() * 0.1).collect::<Vec<_>>();
            graph.weights[0] = Weight::floats("w", ElementType::F32, &shape, &values);
            graph.weights.push(Weight::sizes("in", &[-1, (groups * inputs) as i64, h as i64, w as i64]));
            graph.nodes[0] = Node::new("Reshape", vec!["z".into(), "in".into()], "x".into());
            let op = if transposed { "ConvTranspose" } else { "Conv" };
            let layer = Node::new(op, vec!["x".into(), "w".into()], "y".into());
            graph.nodes.insert(1, layer.with("group", Setting::Int(groups as i64)));
            graph.nodes[2].inputs[0] = "y".into();
            let checked = checked(&graph, inner, len);
            let whole = drawn(&graph, inner, 1, arranged, &[3]).remove(0);
            for wanted in [2, 3, 4] {
                let threads = threads(&graph, &checked, wanted, arranged);
                for part in drawn(&graph, inner, threads, arranged, &[1, 2, 3]) {
                    prop_assert!(part == whole[..part.len()], "{} images, {threads} threads of {wanted}", part.len() / len);
                }
            }
        }
    }

    #[test]
    fn no_factor_is_1_afterwards() {
        for (alpha, expected) in [(None, 2.), (Some(1.), 2.), (Some(0.5), 0.5), (Some(3.), 3.)] {
            let mut graph = graph(4, 6, true, true);
            if let Some(alpha) = alpha {
                graph.nodes[0] = graph.nodes[0].clone().with("alpha", Setting::Float(alpha));
            }
            let checked = checked(&graph, 4, 6);
            let (graph, all) = alike(graph, &checked);
            let node = graph.nodes.iter().find(|node| node.op == "Gemm").expect("has one");
            assert_eq!((node.attribute("alpha"), all), (Some(&Setting::Float(expected)), true), "{alpha:?}");
        }
    }

    #[test]
    fn products_that_cannot_be_so_written_are_told() {
        let mut graph = graph(4, 6, false, false);
        let three = |name: &'static str, sizes: &[i64]| Weight::sizes(name, sizes);
        graph.weights.push(three("one", &[-1, 1, 4]));
        let reshape = Node::new("Reshape", vec!["z".into(), "one".into()], "x".into());
        graph.nodes[0].inputs[0] = "x".into();
        graph.nodes.insert(0, reshape);
        let checked = checked(&graph, 4, 6);
        assert!(!alike(graph, &checked).1, "a row for each sample, of which there may be one");
    }
}
