//! What comes before and after a foreign graph: its latents from Kiln's, and Kiln's images from its own.

use super::ports::{Labels, Ports, described, sample_of};
use super::tensor::{Kind, Tensor, volume};
use super::translate::{Translation, Value};
use super::{Distribution, Layout, Wishes, range};
use crate::graph::{ElementType, Port, Setting, Text};
use crate::model::{ImageShape, MAX_CHANNELS, MAX_SIDE, OUTPUT_IMAGE, Precision};
use crate::text::shown;

type Result<T> = std::result::Result<T, String>;

/// Makes the foreign latents of z [N, latent_dim]; gives the precision and the length of these.
pub(super) fn begin<'a>(
    to: &mut Translation<'a>,
    ports: &Ports<'_, 'a>,
    wishes: &Wishes,
    report: &mut Vec<String>,
) -> Result<(Precision, usize)> {
    let port = ports.latent;
    let wrong = || format!("has {}, which cannot be the latent", described(port));
    let sizes = sample_of(port).ok_or_else(wrong)?;
    let (element, precision) = match Kind::from_number(port.element) {
        Some(Kind::F16) => (ElementType::F16, Precision::F16),
        Some(Kind::F32) => (ElementType::F32, Precision::F32),
        _ => {
            return Err(format!(
                "has {}, allowed are latents of f32 and f16: export it in one of them",
                described(port)
            ));
        }
    };
    let len = volume(&sizes).ok_or_else(wrong)?;
    to.input("z", element, vec![len])?;
    let mut last = Text::from("z");
    if let Some(Distribution::Uniform(low, high)) = wishes.distribution {
        // How many of all are below a number is equally likely to be anything: erf(z / sqrt 2) lies between -1 and 1.
        let kind = if element == ElementType::F16 { Kind::F16 } else { Kind::F32 };
        let number = |x: f64| Tensor::from_numbers(kind, &[], &[x]);
        let scale = to.weight("uniform/scale", &number(std::f64::consts::FRAC_1_SQRT_2))?;
        last = to.put("Mul", vec![last, scale], "uniform", vec![])?;
        last = to.put("Erf", vec![last], "uniform", vec![])?;
        if (low, high) != (-1., 1.) {
            let [half, middle] = [(high - low) / 2., (high + low) / 2.].map(number);
            let half = to.weight("uniform/half", &half)?;
            last = to.put("Mul", vec![last, half], "uniform", vec![])?;
            let middle = to.weight("uniform/middle", &middle)?;
            last = to.put("Add", vec![last, middle], "uniform", vec![])?;
        }
    }
    if sizes != [len] {
        let shape: Vec<i64> = std::iter::once(-1).chain(sizes.iter().map(|&n| n as i64)).collect();
        let shape = to.list("latent/shape", &shape)?;
        last = to.put("Reshape", vec![last, shape], "latent", vec![])?;
    }
    to.values.insert(port.name, Value::Live(last));
    report.push(format!("latent     {}: {len} numbers a sample", described(port)));
    report.push(match wishes.distribution {
        Some(Distribution::Normal) => "           as they are, normal".into(),
        Some(Distribution::Uniform(low, high)) => {
            format!("           made uniform, from {low} to {high}, of normal ones")
        }
        None => "assumed    its latents are standard normal numbers (else --distribution uniform)".into(),
    });
    if let Some(n) = port.shape[0] {
        report.push(format!("batch      was fixed to {n}; now it is open"));
    }
    Ok((precision, len))
}

/// Tells what the other inputs are.
pub(super) fn tell(ports: &Ports<'_, '_>, wishes: &Wishes, report: &mut Vec<String>) {
    if let Some((port, labels, n)) = &ports.class {
        let how = match labels {
            Labels::Number(_) => "by number",
            Labels::OneHot(_) => "one number for each, made of the class's number",
        };
        report.push(format!("class      {}: {n} classes, {how}", described(port)));
    }
    for (port, value) in &ports.fixed {
        let is_said = wishes.inputs.iter().any(|(name, _)| name == port.name);
        report.push(match is_said {
            true => format!("fixed      {} to {value}", described(port)),
            false => format!("assumed    {} is {value} (else --input {}=VALUE)", described(port), shown(port.name)),
        });
    }
}

/// Makes Kiln's image, [N, C, H, W] from -1 to 1, of the foreign one.
pub(super) fn end<'a>(
    to: &mut Translation<'a>,
    ports: &Ports<'_, 'a>,
    precision: Precision,
    wishes: &Wishes,
    report: &mut Vec<String>,
) -> Result<ImageShape> {
    let port = ports.image;
    let mut last = to.name(port.name)?;
    let typed = to.typed(&last)?.clone();
    if !typed.per_sample || last == "z" {
        return Err(format!("has the output {}, which does not depend on the latent", described(port)));
    }
    let (image, layout) = shape(port, &typed.sizes, wishes)?;
    let range = wishes.range.or_else(|| range::of_images(&to.graph, &last));
    let Some((low, high)) = range else {
        return Err(
            "does not tell between which numbers its images are (its last layers are neither Tanh, Sigmoid nor Clip): \
                    --range -1..1, --range 0..1 or --range 0..255"
                .into(),
        );
    };
    let ImageShape { channels, height, width } = image;
    let axes = if layout == Layout::Nhwc { ", its channels put first" } else { "" };
    report.push(format!("image      {}: {channels} x {height} x {width}{axes}", described(port)));
    if let ([a, _, c], None, None) = (&typed.sizes[..], wishes.layout, wishes.shape)
        && a.max(c) <= &MAX_CHANNELS
    {
        report.push("assumed    channels are its first axis (else --layout nhwc)".into());
    }
    let sizes = match layout {
        Layout::Nchw => [channels, height, width],
        Layout::Nhwc => [height, width, channels],
    };
    if typed.sizes != sizes {
        let shape: Vec<i64> = std::iter::once(-1).chain(sizes.iter().map(|&n| n as i64)).collect();
        let shape = to.list("image/shape", &shape)?;
        last = to.put("Reshape", vec![last, shape], "image/shaped", vec![])?;
    }
    let how = if wishes.range.is_some() { "as --range says" } else { "as its last layers tell" };
    report.push(match (low, high) {
        (-1., 1.) => format!("range      -1 to 1, {how}"),
        _ => format!("range      {low} to {high}, {how}; brought to -1 to 1"),
    });
    if (low, high) != (-1., 1.) {
        let kind = if typed.element == ElementType::F16 { Kind::F16 } else { Kind::F32 };
        let number = |x: f64| Tensor::from_numbers(kind, &[], &[x]);
        let scale = to.weight("image/scale", &number(2. / (high - low)))?;
        last = to.put("Mul", vec![last, scale], "image/scaled", vec![])?;
        let shift = to.weight("image/shift", &number(-1. - 2. * low / (high - low)))?;
        last = to.put("Add", vec![last, shift], "image/scaled", vec![])?;
    }
    if layout == Layout::Nhwc {
        let order = vec![("perm", Setting::Ints(vec![0, 3, 1, 2]))];
        last = to.put("Transpose", vec![last], "image/moved", order)?;
    }
    let element: ElementType = precision.into();
    if typed.element != element {
        last = to.put("Cast", vec![last], "image/cast", vec![("to", Setting::Int(element as i64))])?;
    }
    for name in to.graph.nodes.iter_mut().flat_map(|node| node.inputs.iter_mut().chain(&mut node.outputs)) {
        if *name == last {
            *name = OUTPUT_IMAGE.into();
        }
    }
    let sizes = std::iter::once(None).chain([channels, height, width].map(Some)).collect();
    to.graph.outputs.push(Port { name: OUTPUT_IMAGE.into(), element: element as u64, shape: sizes });
    Ok(image)
}

/// The shape of an image, of samples of these sizes, and the order of their axes.
fn shape(port: &super::source::Port<'_>, sizes: &[usize], wishes: &Wishes) -> Result<(ImageShape, Layout)> {
    let of = |layout: Layout, sizes: [usize; 3]| match (layout, sizes) {
        (Layout::Nchw, [channels, height, width]) | (Layout::Nhwc, [height, width, channels]) => {
            (ImageShape { channels, height, width }, layout)
        }
    };
    let is_image = |(image, _): &(ImageShape, Layout)| {
        (1..=MAX_CHANNELS).contains(&image.channels) && image.height.max(image.width) <= MAX_SIDE
    };
    let what = |why: &str| {
        Err(format!(
            "has images of {sizes:?}, which {why} (allowed are 1 to {MAX_CHANNELS} channels of {MAX_SIDE} pixels a side)"
        ))
    };
    if let Some(image) = wishes.shape {
        let layout = wishes.layout.unwrap_or(Layout::Nchw);
        return match volume(sizes) == Some(image.len()) && is_image(&(image, layout)) {
            true => Ok((image, layout)),
            false => what("are not as large as --shape says"),
        };
    }
    let both = |sizes: [usize; 3]| [Layout::Nchw, Layout::Nhwc].map(|layout| of(layout, sizes));
    match *sizes {
        [a, b, c] => {
            let wished = |(_, layout): &(ImageShape, Layout)| wishes.layout.is_none_or(|wished| wished == *layout);
            match both([a, b, c]).into_iter().filter(is_image).find(wished) {
                Some(found) => Ok(found),
                None => what("has no axis of channels: is it another output, --image NAME?"),
            }
        }
        [height, width] if height.max(width) <= MAX_SIDE => {
            Ok((ImageShape { channels: 1, height, width }, Layout::Nchw))
        }
        [_] => Err(format!("has {}, rows of numbers: say what images they are: --shape CxHxW", described(port))),
        _ => what("are no images"),
    }
}
