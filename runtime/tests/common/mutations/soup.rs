//! Graphs that nobody would write: any operators with any settings, one after the other, as much as they fit.

use super::dice::Dice;
use super::operators::OPERATORS;
use super::protobuf::{Field, Kind, Value, write};
use half::f16;

struct Soup<'d> {
    dice: &'d mut Dice,
    graph: Vec<Field>,
    half: bool,
    /// The shape that values began with, without the number of samples.
    sample: Vec<u64>,
    /// Names of values with that shape, probably.
    values: Vec<String>,
    count: usize,
    /// How many axes the operator at hand is to work along.
    axes: usize,
}

/// A model of any operators, whose image is one number: a mean of all that is computed.
pub fn model(dice: &mut Dice) -> Vec<u8> {
    let samples: &[&[u64]] = &[
        &[4, 6, 5],
        &[8, 4, 4],
        &[16, 3, 3],
        &[3, 8],
        &[6],
        &[1],
        &[2, 3, 4, 5],
        &[1, 1, 1],
        &[4, 4],
        &[5, 7],
        &[16, 8, 8],
        &[1, 9, 1],
        &[],
    ];
    let sample: Vec<u64> = dice.pick(samples).into();
    let (half, opset) = (dice.once_in(4), 13 + dice.below(10) as u64);
    let (latent, element) = (sample.iter().product::<u64>(), if half { 10 } else { 1 });
    let mut soup = Soup { dice, graph: Vec::new(), half, sample, values: Vec::new(), count: 0, axes: 0 };
    let open = [&[u64::MAX], &soup.sample[..]].concat();
    let mut value = soup.shaped("z".into(), &open);
    for _ in 0..1 + soup.dice.below(5) {
        soup.values.push(value.clone());
        let made = soup.operator(&value);
        // As it is, or as a number that is added to what there was.
        value = match soup.dice.once_in(3) {
            true => {
                let number = soup.number(made, &vec![1; open.len() - 1]);
                soup.node("Add", &[&value, &number], &[])
            }
            false => made,
        };
    }
    let number = soup.number(value, &[1, 1, 1]);
    soup.graph.push(node("Tanh", &[&number], "image", &[]));
    soup.graph.push(port(11, "z", element, &[latent]));
    soup.graph.push(port(12, "image", element, &[1, 1, 1]));
    let precision = if half { "f16" } else { "f32" };
    let mut all =
        vec![Field::message(8, Kind::Opset, vec![Field::varint(2, opset)]), Field::message(7, Kind::Graph, soup.graph)];
    for (key, value) in [
        ("format", "1"),
        ("precision", precision),
        ("latent_dim", &latent.to_string()),
        ("latent_distribution", "normal"),
        ("image_shape", "1 1 1"),
        ("value_range", "-1 1"),
        ("classes", "0"),
        ("recipe", ""),
        ("recipe_sha256", ""),
        ("images_seen", "0"),
        ("data", ""),
        ("data_sha256", ""),
        ("quality", ""),
        ("trainer", "soup"),
        ("self_test", "seed=0 index=0 tolerance=2 points=0:0"),
    ] {
        all.push(Field::entry(&format!("kiln.{key}"), value));
    }
    write(&all)
}

fn node(op: &str, inputs: &[&str], output: &str, attributes: &[Field]) -> Field {
    let inputs = inputs.iter().map(|name| Field::text(1, name));
    let rest = [Field::text(2, output), Field::text(4, op)];
    Field::message(1, Kind::Node, inputs.chain(rest).chain(attributes.iter().cloned()).collect())
}

fn port(number: u32, name: &str, element: u64, sample: &[u64]) -> Field {
    let open = Field::message(1, Kind::Size, vec![Field::text(2, "N")]);
    let sizes = sample.iter().map(|&n| Field::message(1, Kind::Size, vec![Field::varint(1, n)]));
    let shape = Field::message(2, Kind::Shape, std::iter::once(open).chain(sizes).collect());
    let tensor = Field::message(1, Kind::TensorType, vec![Field::varint(1, element), shape]);
    Field::message(number, Kind::Port, vec![Field::text(1, name), Field::message(2, Kind::Type, vec![tensor])])
}

impl Soup<'_> {
    fn name(&mut self) -> String {
        self.count += 1;
        format!("v{}", self.count)
    }

    fn node(&mut self, op: &str, inputs: &[&str], attributes: &[Field]) -> String {
        let name = self.name();
        self.graph.push(node(op, inputs, &name, attributes));
        name
    }

    fn weight(&mut self, element: u64, dims: &[u64], raw: Vec<u8>) -> String {
        let name = self.name();
        let tensor = vec![
            Field::new(1, Value::Packed(dims.into())),
            Field::varint(2, element),
            Field::text(8, &name),
            Field::new(9, Value::Bytes(raw)),
        ];
        self.graph.push(Field::message(5, Kind::Tensor, tensor));
        name
    }

    fn integers(&mut self, all: &[u64]) -> String {
        self.weight(7, &[all.len() as u64], all.iter().flat_map(|n| n.to_le_bytes()).collect())
    }

    /// A list of integers in the file, now and then one that is computed.
    fn sizes(&mut self, all: &[u64]) -> String {
        let name = self.integers(all);
        if !self.dice.once_in(25) {
            return name;
        }
        let other = self.dice.pick(&[vec![0], vec![1], vec![2], vec![u64::MAX], all.to_vec()]);
        let other = self.integers(&other);
        let op = self.dice.pick(&["Add", "Div", "Identity", "Max", "Mul", "Pow", "Sub", "Tile"]);
        let takes = if op == "Identity" { 1 } else { 2 };
        self.node(op, &[&*name, &*other][..takes], &[])
    }

    /// Numbers of this shape, now and then of another.
    fn floats(&mut self, mut dims: Vec<u64>) -> String {
        if self.dice.once_in(12) {
            match dims.len() {
                0 => dims.push(1),
                n => dims[self.dice.below(n)] = self.dice.below(9) as u64,
            }
        }
        let len = dims.iter().product::<u64>();
        let values: Vec<f32> = (0..len.min(1 << 16)).map(|_| self.dice.below(2001) as f32 / 1000. - 1.).collect();
        match self.half {
            true => self.weight(10, &dims, values.iter().flat_map(|&x| f16::from_f32(x).to_le_bytes()).collect()),
            false => self.weight(1, &dims, values.iter().flat_map(|x| x.to_le_bytes()).collect()),
        }
    }

    fn shaped(&mut self, value: String, shape: &[u64]) -> String {
        let shape = self.sizes(shape);
        self.node("Reshape", &[&value, &shape], &[])
    }

    /// The mean of a sample's values, in the shape `sample` of one number.
    fn number(&mut self, value: String, sample: &[u64]) -> String {
        let flat = self.node("Flatten", &[&value], &[]);
        let axis = self.sizes(&[1]);
        let channel = self.node("Unsqueeze", &[&flat, &axis], &[]);
        let mean = self.node("GlobalAveragePool", &[&channel], &[]);
        self.shaped(mean, &[&[u64::MAX], sample].concat())
    }

    /// Mostly a small number.
    fn integer(&mut self) -> u64 {
        match self.dice.once_in(30) {
            true => self.dice.extreme(),
            false => self.dice.pick(&[0, 1, 1, 1, 2, 2, 3, 4, u64::MAX, 10]),
        }
    }

    /// So many small numbers, mostly.
    fn list(&mut self, len: usize, least: u64) -> Vec<u64> {
        let len = if self.dice.once_in(40) { self.dice.below(10) } else { len };
        let most = 1 + self.dice.below(3);
        let number = |dice: &mut Dice| match dice.below(60) {
            0 => dice.extreme(),
            1 => dice.pick(&[100, 1000, 1 << 20]),
            _ => least + dice.below(most) as u64,
        };
        (0..len).map(|_| number(self.dice)).collect()
    }

    /// For each axis, the samples' first: 0 or 1 there.
    fn per_axis(&mut self, first: u64) -> Vec<u64> {
        let rest = self.list(self.sample.len(), 0);
        [vec![first], rest].concat()
    }

    fn operator(&mut self, value: &str) -> String {
        let (op, inputs, attributes) = self.dice.pick(OPERATORS);
        self.axes = self.dice.pick(&[1, 1, 1, 2, 3, 0]);
        let (mut names, mut left_out) = (vec![value.to_owned()], false);
        for letter in inputs.chars() {
            match letter {
                '(' => left_out = self.dice.once_in(2),
                ')' => left_out = false,
                _ if left_out => (),
                _ => {
                    let input = self.input(op, letter);
                    names.push(input);
                }
            }
        }
        let mut made: Vec<Field> = Vec::new();
        for (name, kind) in attributes {
            if self.dice.once_in(2) && !made.iter().any(|field| is_named(field, name)) {
                let value = self.attribute(kind);
                made.push(Field::message(5, Kind::Attribute, [vec![Field::text(1, name)], value].concat()));
            }
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        self.node(op, &names, &made)
    }

    fn input(&mut self, op: &str, letter: char) -> String {
        let (sample, rank) = (self.sample.clone(), self.sample.len() + 1);
        let channels = sample.first().copied().unwrap_or(1);
        let positions = sample.len().saturating_sub(1);
        let side = 1 + self.dice.below(4) as u64;
        match letter {
            'k' => {
                let groups = if self.dice.once_in(4) { channels } else { 1 };
                let outputs = self.dice.pick(&[channels, 8, 4, 1]);
                self.floats([vec![outputs, channels / groups], vec![side; positions]].concat())
            }
            't' => {
                let outputs = self.dice.pick(&[channels, 8, 1]);
                let side = self.dice.pick(&[side, 4]);
                self.floats([vec![channels, outputs], vec![side; positions]].concat())
            }
            'c' => self.floats(vec![channels]),
            's' => self.floats(vec![]),
            'b' => {
                let skipped = self.dice.below(sample.len() + 1);
                let mut dims = sample[skipped..].to_vec();
                dims.iter_mut().for_each(|n| *n = if self.dice.once_in(3) { 1 } else { *n });
                self.floats(dims)
            }
            'm' => {
                let last = sample.last().copied().unwrap_or(1);
                let others = self.dice.pick(&[last, 3, 1, 16]);
                let dims = if self.dice.once_in(6) { vec![others, last] } else { vec![last, others] };
                self.floats(dims)
            }
            'l' => {
                let from = if op == "Gemm" { sample.len() } else { self.dice.below(sample.len() + 1) };
                let from = if self.dice.once_in(2) { from } else { sample.len().saturating_sub(1) };
                self.floats(sample[from..].to_vec())
            }
            'x' => self.dice.pick(&self.values),
            'p' => {
                let all = [self.per_axis(0), self.per_axis(0)].concat();
                self.sizes(&all)
            }
            'r' => {
                let first = self.dice.pick(&[1, 1, 0]);
                let all = self.per_axis(first);
                self.sizes(&all)
            }
            'a' => {
                let axis =
                    |dice: &mut Dice| if dice.once_in(12) { dice.extreme() } else { 1 + dice.below(rank) as u64 };
                let all: Vec<u64> = (0..self.axes).map(|_| axis(self.dice)).collect();
                self.sizes(&all)
            }
            'v' => {
                let place = |dice: &mut Dice| if dice.once_in(8) { dice.extreme() } else { dice.below(6) as u64 };
                let all: Vec<u64> = (0..self.axes).map(|_| place(self.dice).wrapping_sub(1)).collect();
                self.sizes(&all)
            }
            'd' => {
                let (a, b) = (self.dice.pick(&[7, 1 << 63]), self.dice.pick(&[0, 2, u64::MAX]));
                let (a, mut b) = (self.integers(&[a]), self.integers(&[b]));
                // A divisor that is seen to be 0 is noticed.
                if self.dice.once_in(2) {
                    b = self.node("Identity", &[&b], &[]);
                }
                let op = self.dice.pick(&["Div", "Pow", "Mul"]);
                let made = self.node(op, &[&a, &b], &[]);
                let to =
                    vec![Field::text(1, "to"), Field::varint(3, if self.half { 10 } else { 1 }), Field::varint(20, 2)];
                self.node("Cast", &[&made], &[Field::message(5, Kind::Attribute, to)])
            }
            'n' => {
                let mut all = match self.dice.below(3) {
                    0 => vec![1; rank],
                    1 => vec![u64::MAX, sample.iter().product()],
                    _ => [vec![self.dice.pick(&[0, 1, u64::MAX])], sample].concat(),
                };
                if self.dice.once_in(2) {
                    let last = all.len() - 1;
                    all.swap(last, last.min(1));
                }
                if self.dice.once_in(4) {
                    let at = self.dice.below(all.len());
                    all[at] = self.integer();
                }
                self.sizes(&all)
            }
            'i' => {
                let all = self.list(2, 0);
                self.sizes(&all)
            }
            'f' => {
                let all: Vec<f32> =
                    (0..rank).map(|i| if i < 2 { 1. } else { self.dice.pick(&[1., 2., 0.5, 1.7, 0.3, 64.]) }).collect();
                self.weight(1, &[rank as u64], all.iter().flat_map(|x| x.to_le_bytes()).collect())
            }
            _ => String::new(),
        }
    }

    fn attribute(&mut self, kind: &str) -> Vec<Field> {
        let positions = self.sample.len().saturating_sub(1);
        let (field, number) = match kind {
            "i" => (Field::varint(3, self.integer()), 2),
            "o" => (Field::varint(3, u64::from(self.dice.once_in(3))), 2),
            "e" => (Field::varint(3, self.dice.pick(&[1, 10])), 2),
            "f" => {
                (Field::new(2, Value::Fixed32(self.dice.pick(&[1f32, 0.5, 2., -1., 0., 1e30, 1e-30]).to_le_bytes())), 1)
            }
            "s" => (Field::new(8, Value::Packed(self.list(positions, 0))), 7),
            "k" => (Field::new(8, Value::Packed(self.list(positions, 1))), 7),
            "p" => (Field::new(8, Value::Packed(self.list(2 * positions, 0))), 7),
            "r" => {
                // An order of the axes, or some of them.
                let mut all: Vec<u64> = (0..=self.sample.len() as u64).collect();
                for _ in 0..self.dice.below(3) {
                    let (a, b) = (self.dice.below(all.len()), self.dice.below(all.len()));
                    all.swap(a, b);
                }
                if self.dice.once_in(3) {
                    all.truncate(self.dice.below(3));
                    all.retain(|n| *n != 0);
                }
                (Field::new(8, Value::Packed(all)), 7)
            }
            words => {
                let words: Vec<_> = words.split(' ').collect();
                (Field::text(4, self.dice.pick(&words)), 3)
            }
        };
        vec![field, Field::varint(20, number)]
    }
}

fn is_named(attribute: &Field, name: &str) -> bool {
    matches!(&attribute.value, Value::Message(_, fields) if fields[0] == Field::text(1, name))
}
