//! Convolutions, pools and what else goes over positions.

use super::call::{Call, Made, volume};
use super::{Alike, Operator, Typed};
use crate::graph::ElementType;

pub(super) const ALL: &[Operator] = &[
    Operator {
        name: "AveragePool",
        attributes: &["auto_pad", "ceil_mode", "count_include_pad", "dilations", "kernel_shape", "pads", "strides"],
        infer: pool,
    },
    Operator {
        name: "Conv",
        attributes: &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"],
        infer: convolution,
    },
    Operator {
        name: "ConvTranspose",
        attributes: &["auto_pad", "dilations", "group", "kernel_shape", "output_padding", "pads", "strides"],
        infer: transposed,
    },
    Operator { name: "GlobalAveragePool", attributes: &[], infer: global },
    Operator { name: "GlobalMaxPool", attributes: &[], infer: global },
    Operator {
        name: "MaxPool",
        attributes: &["auto_pad", "ceil_mode", "dilations", "kernel_shape", "pads", "storage_order", "strides"],
        infer: pool,
    },
    Operator {
        name: "QLinearConv",
        attributes: &["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"],
        infer: quantised,
    },
    Operator {
        name: "Resize",
        attributes: &[
            "antialias",
            "coordinate_transformation_mode",
            "cubic_coeff_a",
            "exclude_outside",
            "extrapolation_value",
            "keep_aspect_ratio_policy",
            "mode",
            "nearest_mode",
        ],
        infer: resize,
    },
];

/// Most positions of a kernel, a stride or a pad along an axis.
const MOST: i64 = 1 << 12;

/// The channels and the positions of a value [N, C, positions...].
fn positions(value: &Typed) -> Result<(usize, &[usize]), String> {
    match (value.per_sample, value.sizes.split_first()) {
        (true, Some((&channels, positions))) if (1..=3).contains(&positions.len()) => Ok((channels, positions)),
        _ => Err(format!("takes {value}, which must be [N, channels, 1 to 3 axes]")),
    }
}

/// A list with a number for each axis of positions.
fn list(call: &Call<'_>, name: &str, default: i64, len: usize, least: i64) -> Result<Vec<usize>, String> {
    let all = call.ints(name)?.map_or_else(|| vec![default; len], <[i64]>::to_vec);
    if all.len() != len || all.iter().any(|n| !(least..=MOST).contains(n)) {
        return Err(format!("has {name} {all:?}, allowed are {len} numbers from {least} to {MOST}"));
    }
    Ok(all.into_iter().map(|n| n as usize).collect())
}

/// How a window goes over the positions.
struct Window {
    kernel: Vec<usize>,
    strides: Vec<usize>,
    dilations: Vec<usize>,
    /// Before and after, of each axis.
    pads: Vec<[usize; 2]>,
}

impl Window {
    fn of(call: &Call<'_>, kernel: Vec<usize>) -> Result<Self, String> {
        let n = kernel.len();
        let pads = list(call, "pads", 0, 2 * n, 0)?;
        Ok(Self {
            strides: list(call, "strides", 1, n, 1)?,
            dilations: list(call, "dilations", 1, n, 1)?,
            pads: (0..n).map(|i| [pads[i], pads[n + i]]).collect(),
            kernel,
        })
    }

    /// Positions from the first to the last that the kernel meets.
    fn extent(&self, axis: usize) -> usize {
        (self.kernel[axis] - 1) * self.dilations[axis] + 1
    }

    /// Where the window stops on positions of this number.
    fn over(&self, positions: &[usize], same: bool) -> Result<Vec<usize>, String> {
        let stops = positions.iter().enumerate().map(|(axis, &n)| {
            if same {
                return Some(n.div_ceil(self.strides[axis]));
            }
            let [before, after] = self.pads[axis];
            let room = n.checked_add(before)?.checked_add(after)?.checked_sub(self.extent(axis))?;
            Some(room / self.strides[axis] + 1)
        });
        let (kernel, pads) = (&self.kernel, &self.pads);
        let wrong = || format!("has a kernel {kernel:?} that does not fit {positions:?} with pads {pads:?}");
        stops.collect::<Option<_>>().ok_or_else(wrong)
    }
}

/// Whether pads are such that positions stay; no other pads may then be given, and no dilations, which ONNX Runtime lacks
/// there.
fn same(call: &Call<'_>) -> Result<bool, String> {
    let mode = call.word("auto_pad", &["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])?;
    if mode != "NOTSET" && call.ints("pads")?.is_some() {
        return Err(format!("has pads beside auto_pad {mode}"));
    }
    let same = mode.starts_with("SAME");
    match call.ints("dilations")? {
        Some(dilations) if same && dilations.iter().any(|n| *n != 1) => {
            Err(format!("has dilations beside auto_pad {mode}"))
        }
        _ => Ok(same),
    }
}

/// The kernel that is input `at`, [outputs, inputs of a group, positions...] or the other way round, of this type, and what
/// goes with it.
fn kernel<'c>(call: &Call<'c>, at: usize, element: ElementType) -> Result<(&'c Typed, usize, Window), String> {
    let (value, weight) = (call.input(0)?, call.input(at)?);
    if weight.per_sample || weight.element != element || weight.sizes.len() != value.rank() {
        return Err(format!("takes the kernel {weight} for {value}"));
    }
    let sides = weight.sizes[2..].to_vec();
    if sides.iter().any(|n| !(1..=MOST as usize).contains(n)) {
        return Err(format!("has the kernel {weight}, allowed are 1 to {MOST} positions along an axis"));
    }
    if let Some(said) = call.ints("kernel_shape")?
        && !said.iter().copied().eq(sides.iter().map(|&n| n as i64))
    {
        return Err(format!("has kernel_shape {said:?} and a kernel {weight}"));
    }
    let groups = usize::try_from(call.int("group", 1)?).ok().filter(|n| *n > 0).ok_or("has no groups")?;
    Ok((weight, groups, Window::of(call, sides)?))
}

fn convolution(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 3)?;
    let element = call.floats(0)?.element;
    let (made, taps, columns) = convolved(call, 1, element)?;
    call.constant(2, element, &made.sizes[..1])?;
    Made::product(made, taps, columns)
}

/// A convolution of bytes: input, its scale and zero, kernel, its scale and zero, the result's scale and zero, bias.
fn quantised(call: &Call<'_>) -> Result<Made, String> {
    call.takes(8, 9)?;
    let value = call.input(0)?;
    if value.element != ElementType::U8 {
        return Err(format!("takes {value}, allowed is u8"));
    }
    let (made, taps, columns) = convolved(call, 3, ElementType::I8)?;
    let outputs = &made.sizes[..1];
    // One scale for the kernel, or one for each output.
    let of_kernel = if call.input(4)?.sizes.is_empty() { &[] } else { outputs };
    for (i, element, sizes) in [
        (1, ElementType::F32, &[][..]),
        (2, ElementType::U8, &[]),
        (4, ElementType::F32, of_kernel),
        (5, ElementType::I8, of_kernel),
        (6, ElementType::F32, &[]),
        (7, ElementType::U8, &[]),
    ] {
        call.input(i)?;
        call.constant(i, element, sizes)?;
    }
    call.constant(8, ElementType::I32, outputs)?;
    // Columns are bytes; sums are of 32 bits; input and result are turned to have their channels last.
    let [from, to] = [value, &made].map(|value| volume(&value.sizes).unwrap_or(usize::MAX) as u64);
    let scratch = (columns.saturating_add(from).saturating_add(to) / 4).saturating_add(to);
    Made::product(made, taps, scratch)
}

/// What a convolution with the kernel that is input `at` makes of input 0, the multiplications that an element takes, and the
/// elements of the columns that a product of matrices is made of.
fn convolved(call: &Call<'_>, at: usize, element: ElementType) -> Result<(Typed, Option<usize>, u64), String> {
    let value = call.input(0)?;
    let (channels, positions) = positions(value)?;
    let (weight, groups, window) = kernel(call, at, element)?;
    let (outputs, inputs) = (weight.sizes[0], weight.sizes[1]);
    if inputs.checked_mul(groups) != Some(channels) || !outputs.is_multiple_of(groups) {
        return Err(format!("takes the kernel {weight} in {groups} groups for {value}"));
    }
    let stops = window.over(positions, same(call)?)?;
    let taps = volume(&window.kernel).and_then(|n| n.checked_mul(inputs));
    let columns = volume(&stops).zip(taps).and_then(|(a, b)| (a as u64).checked_mul(b as u64));
    let columns = columns.ok_or("takes too much memory to be counted")?;
    let sizes = std::iter::once(outputs).chain(stops).collect();
    Ok((Typed { sizes, ..value.clone() }, taps, columns))
}

fn transposed(call: &Call<'_>) -> Result<Made, String> {
    call.takes(2, 3)?;
    let value = call.floats(0)?;
    let (channels, positions) = positions(value)?;
    let (weight, groups, window) = kernel(call, 1, value.element)?;
    let (inputs, outputs) = (weight.sizes[0], weight.sizes[1]);
    if inputs != channels || !channels.is_multiple_of(groups) {
        return Err(format!("takes the kernel {weight} in {groups} groups for {value}"));
    }
    let made = outputs.checked_mul(groups).ok_or("makes too many channels")?;
    call.constant(2, value.element, &[made])?;
    call.word("auto_pad", &["NOTSET"])?;
    let extra = list(call, "output_padding", 0, positions.len(), 0)?;
    let mut sizes = vec![made];
    for (axis, &n) in positions.iter().enumerate() {
        let [before, after] = window.pads[axis];
        let whole =
            (n - 1).checked_mul(window.strides[axis]).and_then(|n| n.checked_add(window.extent(axis) + extra[axis]));
        let left = whole.and_then(|n| n.checked_sub(before + after)).filter(|n| *n > 0);
        if extra[axis] >= window.strides[axis] {
            return Err(format!("has output_padding {}, allowed is less than its stride", extra[axis]));
        }
        sizes.push(left.ok_or_else(|| format!("makes no positions of {n} with pads {before} and {after}"))?);
    }
    let taps = volume(&window.kernel);
    // Every position of the input gives a window of every output.
    let columns =
        volume(positions).zip(taps).and_then(|(a, b)| (a as u64).checked_mul(b as u64)?.checked_mul(made as u64));
    let columns = columns.ok_or("takes too much memory to be counted")?;
    let products = columns.checked_mul((channels / groups) as u64).ok_or("takes more work than can be counted")?;
    Ok(Made { outputs: vec![Typed { sizes, ..value.clone() }], products, scratch: columns, alike: Alike::Always })
}

fn pool(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 1)?;
    for (name, allowed) in [("ceil_mode", &[0][..]), ("count_include_pad", &[0, 1]), ("storage_order", &[0])] {
        call.choice(name, 0, allowed)?;
    }
    let value = call.floats(0)?;
    let (channels, positions) = positions(value)?;
    if call.is("AveragePool")
        && call.ints("dilations")?.is_some_and(|all| call.opset < 19 || all.iter().any(|n| *n != 1))
    {
        return Err("has dilations, which averages have not here".into());
    }
    call.ints("kernel_shape")?.ok_or("has no kernel_shape")?;
    let window = Window::of(call, list(call, "kernel_shape", 1, positions.len(), 1)?)?;
    if (0..positions.len()).any(|axis| window.pads[axis].iter().any(|pad| *pad >= window.kernel[axis])) {
        return Err("has pads as large as its kernel".into());
    }
    let same = same(call)?;
    if same && window.strides.iter().zip(&window.kernel).any(|(stride, kernel)| stride > kernel) {
        return Err("has strides larger than its kernel beside auto_pad".into());
    }
    let stops = window.over(positions, same)?;
    let sizes = std::iter::once(channels).chain(stops).collect();
    Made::product(Typed { sizes, ..value.clone() }, volume(&window.kernel), 0)
}

fn global(call: &Call<'_>) -> Result<Made, String> {
    call.takes(1, 1)?;
    let value = call.floats(0)?;
    let (channels, positions) = positions(value)?;
    let sizes = std::iter::once(channels).chain(positions.iter().map(|_| 1)).collect();
    Made::product(Typed { sizes, ..value.clone() }, volume(positions), 0)
}

fn resize(call: &Call<'_>) -> Result<Made, String> {
    call.takes(3, 4)?;
    call.choice("antialias", 0, &[0])?;
    call.word("keep_aspect_ratio_policy", &["stretch"])?;
    call.float("extrapolation_value")?;
    let mode = call.word("mode", &["nearest", "linear", "cubic"])?;
    call.word("coordinate_transformation_mode", &["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"])?;
    call.word("nearest_mode", &["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])?;
    call.choice("exclude_outside", 0, if mode == "cubic" { &[0, 1] } else { &[0] })?;
    call.float("cubic_coeff_a")?;
    let value = call.floats(0)?;
    let (channels, positions) = positions(value)?;
    // ONNX Runtime takes other numbers of axes for images, and mixes what lies beside one another.
    let axes = match mode {
        "nearest" => 1..=3,
        "linear" => 2..=3,
        _ => 2..=2,
    };
    if !axes.contains(&positions.len()) {
        return Err(format!(
            "is {mode} along {} axes, allowed are {} to {}",
            positions.len(),
            axes.start(),
            axes.end()
        ));
    }
    if call.optional(1).is_some_and(|roi| roi.per_sample || roi.sizes != [0]) {
        return Err("takes a region of interest, which is not allowed".into());
    }
    let scales = call
        .scales(2)?
        .filter(|_| call.optional(3).is_none())
        .ok_or("must have scales, not sizes: samples have no number yet")?;
    let right =
        scales.len() == value.rank() && scales[..2] == [1., 1.] && scales.iter().all(|s| (1e-3..=64.).contains(s));
    if !right {
        return Err(format!("has scales {scales:?} for {value}, allowed are 1, 1 and 0.001 to 64"));
    }
    let mut sizes = vec![channels];
    for (&n, &scale) in positions.iter().zip(&scales[2..]) {
        // As ONNX has it, in single precision.
        sizes.push((n as f32 * scale).floor() as usize);
    }
    let made = Made::product(Typed { sizes, ..value.clone() }, Some(16), 0)?;
    Ok(if mode == "nearest" { made } else { made.alone() })
}
