//! Changes of files: of their bytes, of the tree of an ONNX file, and of the header of a safetensors file.

use super::dice::Dice;
use super::protobuf::{Field, Kind, Value, beside, parse, places, write};

/// Names of operators of ONNX, allowed here or not.
const OPERATORS: &str = "Abs Add And ArgMax AveragePool BatchNormalization Bernoulli BitShift Cast CastLike Ceil Clip \
    Compress Concat Constant ConstantOfShape Conv ConvTranspose Cos CumSum DepthToSpace DequantizeLinear Div Dropout Einsum \
    Elu Equal Erf Exp Expand EyeLike Flatten Floor Gather GatherElements GatherND Gelu Gemm GlobalAveragePool GlobalMaxPool \
    GridSample GRU HardSigmoid HardSwish Identity If InstanceNormalization LayerNormalization LeakyRelu Less Log LogSoftmax \
    Loop LpNormalization LSTM MatMul Max MaxPool MaxUnpool Mean Min Mod Mul Multinomial Neg NonMaxSuppression NonZero Not \
    OneHot Optional Pad Pow PRelu QuantizeLinear RandomNormal RandomNormalLike RandomUniform RandomUniformLike Range \
    Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceSum ReduceSumSquare Relu Reshape Resize RNN RoiAlign \
    Round Scan ScatterElements ScatterND Selu SequenceAt Shape Sigmoid Sign Sin Size Slice Softmax Softplus Softsign \
    SpaceToDepth Split Sqrt Squeeze StringSplit Sub Sum Tanh Tile TopK Transpose Trilu Unique Unsqueeze Where Xor";
/// Attributes, with the number of their type.
const ATTRIBUTES: [(&str, u64); 22] = [
    ("allowzero", 2),
    ("alpha", 1),
    ("auto_pad", 3),
    ("axes", 7),
    ("axis", 2),
    ("beta", 1),
    ("blocksize", 2),
    ("dilations", 7),
    ("epsilon", 1),
    ("exclude_outside", 2),
    ("group", 2),
    ("keepdims", 2),
    ("kernel_shape", 7),
    ("mode", 3),
    ("output_padding", 7),
    ("pads", 7),
    ("perm", 7),
    ("p", 2),
    ("strides", 7),
    ("to", 2),
    ("transA", 2),
    ("transB", 2),
];

/// Changes some bytes, without a thought for what they are.
pub fn bytes(dice: &mut Dice, file: &mut Vec<u8>, other: &[u8]) {
    if file.is_empty() {
        return file.push(dice.number() as u8);
    }
    let (at, span) = (dice.below(file.len()), dice.span(file.len()));
    match dice.below(9) {
        0 => file[at] ^= 1 << dice.below(8),
        1 => file[at] = dice.pick(&[0, 1, 2, 8, 0x0a, 0x12, 0x1b, 0x7f, 0x80, 0xfe, 0xff]),
        2 => drop(file.splice(at..at, (0..dice.below(16)).map(|i| (at * i) as u8).collect::<Vec<_>>())),
        3 => drop(file.drain(span)),
        4 => {
            let copy = file[span].to_vec();
            file.splice(at..at, copy);
        }
        5 => {
            let (a, b) = (span.start.min(at), span.start.max(at));
            let len = span.len().min(b - a).min(file.len() - b);
            (0..len).for_each(|i| file.swap(a + i, b + i));
        }
        6 => file.truncate(at),
        7 if !other.is_empty() => {
            let from = if dice.once_in(2) { at.min(other.len() - 1) } else { dice.below(other.len()) };
            file.splice(at.., other[from..].iter().copied());
        }
        _ => file[at] = dice.number() as u8,
    }
}

/// Changes an ONNX file where it is understood, now and then so that nobody would.
pub fn model(dice: &mut Dice, file: &mut Vec<u8>, other: &[u8]) {
    let Some(mut tree) = parse(Kind::Model, file) else { return bytes(dice, file, other) };
    let other = parse(Kind::Model, other).unwrap_or_default();
    loop {
        change(dice, &mut tree, &other);
        if dice.below(3) > 0 || tree.is_empty() {
            break;
        }
    }
    *file = write(&tree);
}

fn change(dice: &mut Dice, tree: &mut Vec<Field>, other: &[Field]) {
    let all = places(tree);
    let place = dice.pick(&all);
    let another = dice.pick(&all);
    let copied = |tree: &mut Vec<Field>, place: &[usize]| {
        let (fields, at) = beside(tree, place);
        fields[at].clone()
    };
    match dice.below(20) {
        0 => {
            let (fields, at) = beside(tree, &place);
            fields.remove(at);
        }
        1 => {
            let (fields, at) = beside(tree, &place);
            let copy = fields[at].clone();
            fields.insert(at, copy);
        }
        2 => {
            let (fields, at) = beside(tree, &place);
            let with = dice.below(fields.len());
            fields.swap(at, with);
        }
        3 => {
            let copy = copied(tree, &another);
            let (fields, at) = beside(tree, &place);
            fields.insert(at, copy);
        }
        4 => {
            // The value of one in the place of another of the same sort.
            let like = std::mem::discriminant(&copied(tree, &place).value);
            let same: Vec<&Vec<usize>> =
                all.iter().filter(|at| std::mem::discriminant(&copied(tree, at).value) == like).collect();
            let copy = copied(tree, same[dice.below(same.len())]);
            let (fields, at) = beside(tree, &place);
            fields[at].value = copy.value;
        }
        5 if !other.is_empty() => {
            let mut other = other.to_vec();
            let from = dice.pick(&places(&other));
            let copy = copied(&mut other, &from);
            let (fields, at) = beside(tree, &place);
            match dice.once_in(2) {
                true => fields.insert(at, copy),
                false => fields[at] = copy,
            }
        }
        6 => {
            let (fields, at) = beside(tree, &place);
            fields[at].number = dice.pick(&[0, 1, 2, 3, 5, 6, 7, 8, 14, 15, 20, 25, 1000, (1 << 29) - 1]);
        }
        7 => {
            let (fields, at) = beside(tree, &place);
            fields[at].padding = dice.below(10);
        }
        8 => {
            // Groups, fields that nobody knows, what ends in the middle.
            let raw: &[&[u8]] = &[
                &[0x0b, 0x0c],
                &[0x0b],
                &[0x0c],
                &[0xfa, 0x7f, 1, 0],
                &[0xf8, 0xff, 0xff, 0xff, 0x0f, 1],
                &[0xf8, 0xff, 0xff, 0xff, 0x7f, 1],
                &[0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f],
                &[0x3b, 0x3b, 0x3b, 0x3c, 0x3c, 0x3c],
                &[0x01, 0, 0, 0, 0, 0, 0, 0, 0],
            ];
            let (fields, at) = beside(tree, &place);
            fields.insert(at, Field::new(0, Value::Raw(dice.pick(raw).into())));
        }
        9 => attribute(dice, tree),
        10 => {
            // A graph within a graph, or what else fits nowhere.
            let copy = Field { number: dice.pick(&[4, 6, 11, 7, 1]), ..copied(tree, &another) };
            let nodes = of_kind(tree, Kind::Attribute);
            let into = if nodes.is_empty() { place } else { dice.pick(&nodes) };
            match &mut beside(tree, &into).0[*into.last().unwrap_or(&0)].value {
                Value::Message(_, fields) => fields.push(copy),
                value => *value = Value::Message(Kind::Graph, vec![copy]),
            }
        }
        11 | 12 => operator(dice, tree),
        13 | 14 => {
            // What is in a node or a tensor matters most.
            let wanted = if dice.once_in(2) { Kind::Tensor } else { Kind::Node };
            let inside = of_kind(tree, wanted);
            let within: Vec<_> = all
                .iter()
                .filter(|place| inside.iter().any(|outer| place.starts_with(outer) && place.len() > outer.len()))
                .collect();
            if !within.is_empty() {
                let place = dice.pick(&within);
                let (fields, at) = beside(tree, place);
                value(dice, &mut fields[at].value);
            }
        }
        _ => {
            let (fields, at) = beside(tree, &place);
            value(dice, &mut fields[at].value);
        }
    }
}

/// Where the messages of this kind are.
fn of_kind(tree: &mut Vec<Field>, kind: Kind) -> Vec<Vec<usize>> {
    let mut all = places(tree);
    all.retain(|place| {
        let (fields, at) = beside(tree, place);
        matches!(&fields[at].value, Value::Message(found, _) if *found == kind)
    });
    all
}

/// Gives a node another operator.
fn operator(dice: &mut Dice, tree: &mut Vec<Field>) {
    let nodes = of_kind(tree, Kind::Node);
    let names: Vec<_> = OPERATORS.split_whitespace().collect();
    if !nodes.is_empty() {
        let place = dice.pick(&nodes);
        let (fields, at) = beside(tree, &place);
        if let Value::Message(_, node) = &mut fields[at].value {
            let name = Field::text(4, dice.pick(&names));
            match node.iter_mut().find(|field| field.number == 4) {
                Some(field) => *field = name,
                None => node.push(name),
            }
            // Its attributes would mostly be unknown.
            if dice.once_in(2) {
                node.retain(|field| field.number != 5);
            }
        }
    }
}

/// Gives a node one more attribute.
fn attribute(dice: &mut Dice, tree: &mut Vec<Field>) {
    let nodes = of_kind(tree, Kind::Node);
    if nodes.is_empty() {
        return;
    }
    let place = dice.pick(&nodes);
    let (name, kind) = dice.pick(&ATTRIBUTES);
    let value = match kind {
        1 => Field::new(2, Value::Fixed32(dice.pick(&[0f32, -1., 0.5, f32::MAX, 1e-40, f32::NAN]).to_le_bytes())),
        2 => Field::varint(3, dice.extreme()),
        3 => {
            Field::text(4, dice.pick(&["SAME_UPPER", "VALID", "reflect", "edge", "wrap", "CRD", "linear", "tanh", ""]))
        }
        _ => Field::new(8, Value::Packed((0..dice.below(9)).map(|_| dice.extreme()).collect())),
    };
    let made = vec![Field::text(1, name), value, Field::varint(20, kind)];
    let (fields, at) = beside(tree, &place);
    if let Value::Message(_, node) = &mut fields[at].value {
        node.push(Field::message(5, Kind::Attribute, made));
    }
}

/// Changes a value to another one of its sort.
fn value(dice: &mut Dice, value: &mut Value) {
    match value {
        Value::Varint(n) => {
            *n = match dice.below(4) {
                0 => n.wrapping_add(1),
                1 => n.wrapping_sub(1),
                2 => dice.below(24) as u64,
                _ => dice.extreme(),
            }
        }
        Value::Packed(all) => match dice.below(4) {
            0 => all.insert(dice.below(all.len() + 1), dice.extreme()),
            1 if !all.is_empty() => drop(all.remove(dice.below(all.len()))),
            2 => *all = vec![1; dice.pick(&[9, 300, 5000])],
            _ => {
                if let Some(last) = all.len().checked_sub(1) {
                    let at = dice.below(last + 1);
                    all[at] = if dice.once_in(2) { dice.below(8) as u64 } else { dice.extreme() };
                }
            }
        },
        Value::Fixed32(bytes) => {
            let float = dice.pick(&[0f32, -0., -1., 1e30, f32::MAX, f32::MIN_POSITIVE, f32::INFINITY, f32::NAN]);
            *bytes = float.to_le_bytes();
        }
        Value::Fixed64(bytes) => *bytes = dice.number().to_le_bytes(),
        Value::Bytes(all) => text(dice, all),
        Value::Raw(all) => bytes(dice, all, &[]),
        Value::Message(_, fields) => match dice.once_in(2) {
            true => fields.clear(),
            false => fields.reverse(),
        },
    }
}

/// Changes a text, or the elements of a tensor.
fn text(dice: &mut Dice, all: &mut Vec<u8>) {
    match dice.below(8) {
        0 => *all = Vec::new(),
        1 => *all = b"A".repeat(6000),
        2 => *all = "\u{1b}\u{202e}".repeat(1500).into_bytes(),
        3 => {
            let names: Vec<_> = OPERATORS.split_whitespace().collect();
            *all = dice.pick(&names).into();
        }
        4 | 5 if !all.is_empty() && all.len().is_multiple_of(8) => {
            let at = 8 * dice.below(all.len() / 8);
            all[at..at + 8].copy_from_slice(&dice.extreme().to_le_bytes());
        }
        6 => *all = if dice.once_in(2) { dice.extreme() } else { dice.below(12) as u64 }.to_string().into_bytes(),
        _ => bytes(dice, all, b"kiln:half/wide"),
    }
}

/// Changes a safetensors file: a word of its header, its length, or any bytes.
pub fn tensors(dice: &mut Dice, file: &mut Vec<u8>, other: &[u8]) {
    let header = file.first_chunk().map_or(0, |length| u64::from_le_bytes(*length) as usize);
    let Some(text) = file.get(8..).and_then(|rest| rest.get(..header)) else { return bytes(dice, file, other) };
    let mut text = text.to_vec();
    let rest = file[8 + header..].to_vec();
    match dice.below(8) {
        0 => return bytes(dice, file, other),
        1 => {
            let length = if dice.once_in(2) {
                header.wrapping_add_signed(dice.below(40) as isize - 20) as u64
            } else {
                dice.extreme()
            };
            return file[..8].copy_from_slice(&length.to_le_bytes());
        }
        2 => bytes(dice, &mut text, b"{\"a\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]},"),
        3 if !rest.is_empty() => {
            let at = 8 + header + dice.below(rest.len());
            return file[at] ^= 1 << dice.below(8);
        }
        _ => {
            let all = words(&text);
            if !all.is_empty() {
                let (at, from) = (dice.pick(&all), dice.pick(&all));
                let is_number = text[at.start].is_ascii_digit();
                let word = match dice.below(8) {
                    0..4 if is_number => {
                        [dice.extreme().to_string(), (dice.extreme() as i64).to_string(), "1e3".into(), "-0".into()]
                            [dice.below(4)]
                        .clone()
                        .into_bytes()
                    }
                    0 => b"F64".to_vec(),
                    1 => b"A".repeat(6000),
                    2 => "\\u001b\u{202e}".repeat(1500).into_bytes(),
                    _ => text[from].to_vec(),
                };
                text.splice(at, word);
            }
        }
    }
    *file = [&(text.len() as u64).to_le_bytes()[..], &text, &rest].concat();
}

/// Where the numbers and words of a header are.
fn words(text: &[u8]) -> Vec<std::ops::Range<usize>> {
    let is_word = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    let (mut all, mut start) = (Vec::new(), None);
    for (i, &byte) in text.iter().enumerate() {
        match (is_word(byte), start) {
            (true, None) => start = Some(i),
            (false, Some(from)) => {
                all.push(from..i);
                start = None;
            }
            _ => (),
        }
    }
    all
}
