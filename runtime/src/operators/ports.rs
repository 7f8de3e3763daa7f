//! The inputs and outputs of a generator, against its description.

use crate::graph::{ElementType, Graph, Port, type_name};
use crate::model::{INPUT_CLASS, INPUT_IMAGE, INPUT_LATENT, ModelInfo, OUTPUT_IMAGE};
use crate::text::shown;

/// Checks that `graph` has the inputs and outputs that `info` says, and no others.
pub(super) fn check(graph: &Graph<'_>, info: &ModelInfo) -> Result<(), String> {
    let float: ElementType = info.precision.into();
    let mut inputs = vec![(INPUT_LATENT, float, vec![info.latent_dim])];
    if info.classes > 0 {
        inputs.push((INPUT_CLASS, ElementType::I64, vec![]));
    }
    if let Some(image) = info.image_in {
        inputs.push((INPUT_IMAGE, float, image.sizes().to_vec()));
    }
    are("input", &graph.inputs, &inputs)?;
    are("output", &graph.outputs, &[(OUTPUT_IMAGE, float, info.image.sizes().to_vec())])
}

/// Checks that `all` are the `wanted`: names, types and shapes [N, sample...] with an open N.
fn are(kind: &str, all: &[Port<'_>], wanted: &[(&str, ElementType, Vec<usize>)]) -> Result<(), String> {
    let fits = |port: &Port<'_>, (name, element, sample): &(&str, ElementType, Vec<usize>)| {
        let shape = std::iter::once(None).chain(sample.iter().map(|&n| Some(n)));
        port.name == *name && port.element == *element as u64 && port.shape.iter().copied().eq(shape)
    };
    if all.len() == wanted.len() && wanted.iter().all(|port| all.iter().any(|found| fits(found, port))) {
        return Ok(());
    }
    let sizes = |shape: &[Option<usize>]| {
        let sizes: Vec<String> = shape.iter().map(|n| n.map_or("N".into(), |n| n.to_string())).collect();
        sizes.join(", ")
    };
    let found = all.iter().take(8).map(|port| {
        let name = shown(&port.name);
        format!("{}: {} [{}]", name.trim_matches('"'), type_name(port.element), sizes(&port.shape))
    });
    let wanted = wanted.iter().map(|(name, element, sample)| {
        let sizes: String = sample.iter().map(|n| format!(", {n}")).collect();
        format!("{name}: {element} [N{sizes}]")
    });
    let list = |names: Vec<String>| names.join(", ");
    let (found, wanted) = (list(found.collect()), list(wanted.collect()));
    Err(format!("has the {kind}s {found}; by its metadata it must have {wanted}, with a symbolic N"))
}
