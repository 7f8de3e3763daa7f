//! Convolutions and scaling, in the forms that a generator file has.

use super::lower::{finish, first};
use super::source::{Node, Setting};
use super::tensor::{Kind, Tensor};
use super::translate::{Size, Translation, Value, attributes};
use crate::graph::{self, Attribute, Text};

/// Refuses kernels that are computed for each sample.
pub(super) fn check_kernel<'a>(to: &Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    match to.optional(node, 1)? {
        Some(Value::Live(kernel)) if to.typed(kernel)?.per_sample => Err(
            "computes its kernel for each sample: export it so that samples are scaled and not kernels (in StyleGAN with \
             `fused_modconv=False`)"
                .into(),
        ),
        _ => Ok(()),
    }
}

fn ints(node: &Node<'_>, name: &str, default: i64, len: usize) -> Result<Vec<i64>, String> {
    let all = node.ints(name).map_or_else(|| vec![default; len], <[i64]>::to_vec);
    match all.len() == len {
        true => Ok(all),
        false => Err(format!("has {name} of {} numbers for {len} axes", all.len())),
    }
}

/// Pads are what the size of the output leaves, where that is said instead.
pub(super) fn transposed<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    check_kernel(to, node)?;
    let (name, _) = first(to, node)?;
    let name = to.per_sample(&name)?;
    let typed = to.typed(&name)?.clone();
    let mut names = vec![name];
    for input in &node.inputs[1..] {
        names.push(to.name(input)?);
    }
    let kernel = to.typed(names.get(1).ok_or("has no kernel")?)?.sizes.clone();
    let mode = node.text("auto_pad").unwrap_or("NOTSET");
    let mut settings = attributes(node, &["auto_pad", "output_shape"])?;
    let wanted = node.ints("output_shape");
    if wanted.is_none() && ["NOTSET", "VALID"].contains(&mode) {
        return finish(to, node, "ConvTranspose", names, settings, 1);
    }
    let (Some(positions), Some(sides)) = (typed.sizes.get(1..), kernel.get(2..)) else {
        return Err(format!("takes {typed} and a kernel {kernel:?}"));
    };
    let axes = positions.len();
    if sides.len() != axes {
        return Err(format!("takes {typed} and a kernel {kernel:?}"));
    }
    let (strides, dilations) = (ints(node, "strides", 1, axes)?, ints(node, "dilations", 1, axes)?);
    let extra = ints(node, "output_padding", 0, axes)?;
    let mut pads = vec![0; 2 * axes];
    for axis in 0..axes {
        let n = positions[axis] as i64;
        let out = match wanted {
            // Of all axes, or of the positions alone.
            Some(all) => *all
                .get(all.len().checked_sub(axes).ok_or("has another output_shape")? + axis)
                .ok_or("has another output_shape")?,
            None => n.checked_mul(strides[axis]).ok_or("makes too many positions")?,
        };
        let reach = (sides[axis] as i64 - 1).checked_mul(dilations[axis]).and_then(|n| n.checked_add(1));
        let whole =
            (n - 1).checked_mul(strides[axis]).zip(reach).and_then(|(a, b)| a.checked_add(b)?.checked_add(extra[axis]));
        let total = whole.and_then(|n| n.checked_sub(out)).filter(|n| *n >= 0);
        let total = total.ok_or_else(|| format!("makes no {out} positions of {n}"))?;
        let half = total / 2;
        (pads[axis], pads[axes + axis]) =
            if mode == "SAME_UPPER" { (half, total - half) } else { (total - half, half) };
    }
    settings.retain(|setting| setting.name != "pads");
    settings.push(Attribute { name: "pads".into(), value: graph::Setting::Ints(pads) });
    finish(to, node, "ConvTranspose", names, settings, 1)
}

/// By factors, whatever the version and whether sizes are said instead.
pub(super) fn resize<'a>(to: &mut Translation<'a>, node: &Node<'a>) -> Result<(), String> {
    let (name, _) = first(to, node)?;
    let name = to.per_sample(&name)?;
    let sizes = to.typed(&name)?.sizes.clone();
    let rank = sizes.len() + 1;
    let is_old = node.op == "Upsample" || to.from < 11;
    let given = match (node.setting("scales"), is_old) {
        (Some(Setting::Floats(all)), _) => Some(all.clone()),
        (_, true) => to.constant(node, 1)?.map(|tensor| floats(&tensor)),
        (_, false) => to.constant(node, 2)?.map(|tensor| floats(&tensor)),
    };
    let axes: Vec<usize> = match node.ints("axes") {
        Some(axes) => axes.iter().map(|&at| if at < 0 { at + rank as i64 } else { at } as usize).collect(),
        None => (0..rank).collect(),
    };
    let mut scales = vec![1f32; rank];
    match (given.filter(|all| !all.is_empty()), to.sizes(node, 3).ok().flatten()) {
        (Some(given), _) if given.len() == axes.len() => {
            for (&at, scale) in axes.iter().zip(given) {
                *scales.get_mut(at).ok_or("scales an axis that is not there")? = scale;
            }
        }
        (None, Some(wanted)) if wanted.len() == axes.len() && !is_old => {
            for (&at, size) in axes.iter().zip(wanted) {
                let own = at.checked_sub(1).and_then(|at| sizes.get(at));
                match (own, size) {
                    (None, _) if at == 0 => (),
                    (Some(&n), Size::Fixed(size)) => scales[at] = factor(n, size)?,
                    _ => return Err("scales to sizes that are not known before it runs".into()),
                }
            }
        }
        _ => return Err("has factors that are not known before it runs".into()),
    }
    let scales: Vec<f64> = scales.into_iter().map(f64::from).collect();
    let weight =
        to.weight(&format!("{}/scales", node.outputs[0]), &Tensor::from_numbers(Kind::F32, &[rank], &scales))?;
    let mut settings = attributes(node, &["axes", "scales"])?;
    if is_old {
        let text = |name: &'static str, value: &'static str| Attribute {
            name: name.into(),
            value: graph::Setting::Text(value.into()),
        };
        settings.push(text("coordinate_transformation_mode", "asymmetric"));
        // To fewer positions these versions took the next one, where none is met.
        let misses = |&scale: &f64| scale < 1. && (1. / scale as f32).fract() != 0.;
        let nearest = match scales.iter().any(misses) {
            true if scales.iter().any(|&scale| scale > 1.) => {
                return Err("scales one axis up and another down, as no newer version of it can".into());
            }
            true => "ceil",
            false => "floor",
        };
        settings.push(text("nearest_mode", nearest));
    }
    finish(to, node, "Resize", vec![name, Text::from(""), weight], settings, 1)
}

fn floats(tensor: &Tensor<'_>) -> Vec<f32> {
    tensor.numbers().into_iter().map(|x| x as f32).collect()
}

/// The factor by which `from` positions become `to`, in single precision.
fn factor(from: usize, to: i64) -> Result<f32, String> {
    let scale = to as f32 / from as f32;
    [scale, scale.next_up()]
        .into_iter()
        .find(|scale| (from as f32 * scale).floor() as i64 == to)
        .ok_or_else(|| format!("scales {from} positions to {to}, which no factor does"))
}
