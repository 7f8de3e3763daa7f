//! Draws from a file that was just made, and looks at what it draws, before anybody gets it.

use crate::checksums::Checksums;
use crate::error::{Error, Fault, Result};
use crate::generator::Generator;
use crate::graph::Graph;
use crate::model::{ModelInfo, Precision};
use crate::options::{Options, Provider, Start};
use crate::request::Request;
use crate::wire::Payload;
use std::path::Path;

/// Images that are looked at.
const IMAGES: usize = 8;
/// Values that the self-test compares.
const POINTS: usize = 64;
/// How far values may be outside of -1 to 1, where they are brought to it by a Clip that comes later, or by none.
const OUTSIDE: f32 = 0.1;
/// Which part of the range values fill at least, unless it is another one.
const LEAST_SPAN: f32 = 0.02;
/// Differences in single precision that other processors may make.
const TOLERANCE: f32 = 5e-3;
/// And in half.
const TOLERANCE_F16: f32 = 3e-2;

/// The bytes of a generator file of this graph and description, with what its images are like in the place of what they are
/// thought to be like.
pub(super) fn tried(
    graph: &Graph<'_>,
    mut info: ModelInfo,
    remarks: &[(u32, Payload<'_>)],
    path: &Path,
    report: &mut Vec<String>,
) -> Result<Vec<u8>> {
    let fail = |what: String| Fault::from(what).at(path);
    // What is wrong with the new file is told by the name of the old one.
    let of_file = |error: Error| match error.path() {
        Some(_) => error.of(path),
        None => error,
    };
    let first = super::write::model(graph, remarks, &info.to_metadata()).map_err(fail)?;
    info.checksums = Some(Checksums::of(&first).map_err(fail)?);
    let options = |start| Options { provider: Provider::Cpu, start, max_batch: IMAGES, ..Options::default() };
    let mut generator = Generator::from_bytes(first, None, &options(Start::Steady)).map_err(of_file)?;
    let images = looked_at(&mut generator, report).map_err(|error| error.of(path))?;
    drop(generator);
    info.self_test.tolerance = match info.precision {
        Precision::F16 => TOLERANCE_F16,
        // No file of another tool is taken for one of integers.
        Precision::F32 | Precision::Int8 => TOLERANCE,
    };
    info.self_test.points = telling(&images[..info.image.len()]);
    let bytes = super::write::model(graph, remarks, &info.to_metadata()).map_err(fail)?;
    // As whoever gets it opens it.
    Generator::from_bytes(bytes.clone(), None, &options(Start::Steady)).map_err(of_file)?;
    Ok(bytes)
}

/// Places of an image, evenly spread, and its values there.
fn telling(image: &[f32]) -> Vec<(usize, f32)> {
    let points = POINTS.min(image.len());
    (0..points).map(|i| i * image.len() / points).map(|at| (at, image[at])).collect()
}

/// The first images of seed 0, which are those of a generator.
fn looked_at(generator: &mut Generator, report: &mut Vec<String>) -> Result<Vec<f32>> {
    let (len, classes) = (generator.info().image.len(), generator.info().classes);
    let request = match classes {
        0 => Request::seed(0),
        _ => Request::seed(0).class(0),
    };
    let mut draw = |request: &Request<'_>, n: usize| {
        let mut out = vec![0f32; n * len];
        generator.draw(request, &mut out).map(|()| out)
    };
    let fail = |what: String| Err(Fault::from(what).into());
    let images = draw(&request, IMAGES)?;
    if images.iter().any(|x| !x.is_finite()) {
        return fail("draws values that are not finite".into());
    }
    let (low, high) = images.iter().fold((f32::MAX, f32::MIN), |(low, high), &x| (low.min(x), high.max(x)));
    if low < -1. - OUTSIDE || high > 1. + OUTSIDE {
        return fail(format!(
            "draws values from {low} to {high} where they must be from -1 to 1: give another --range"
        ));
    }
    if high - low < 2. * LEAST_SPAN || low >= 0. {
        report.push(format!("look       all values are from {low:.3} to {high:.3}: is it another --range?"));
    }
    if draw(&request, IMAGES)? != images {
        return fail("does not draw the same images again".into());
    }
    for n in [1, 2, 3] {
        for first in (0..IMAGES - n + 1).step_by(n) {
            if draw(&request.first(first as u64), n)? != images[first * len..][..n * len] {
                return fail(format!("draws other images in batches of {n} than of {IMAGES}"));
            }
        }
    }
    let alike = |a: &[f32], b: &[f32]| a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-6);
    let (one, others) = images.split_at(len);
    if others.chunks_exact(len).all(|other| alike(one, other)) {
        return fail("draws the same image whatever the latent: is another input the latent, --latent NAME?".into());
    }
    let mut by_class = "";
    if classes > 1 {
        let mut is_other = false;
        for class in 1..classes.min(IMAGES) {
            is_other |= !alike(&draw(&request.class(class as u32), 1)?, one);
        }
        if !is_other {
            return fail("draws the same image whatever the class: is another input the class, --class NAME?".into());
        }
        by_class = " and by class";
    }
    report.push(format!(
        "checked    {IMAGES} images: from {low:.3} to {high:.3}, the same again and in batches of 1, 2 and 3, different by \
         latent{by_class}"
    ));
    Ok(images)
}
