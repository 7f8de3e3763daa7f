//! Writes the graph of a generator file from that of a foreign one, node by node.
//!
//! Every value of the foreign graph is one of four kinds: the same for all samples and known here; known here but for the
//! number of samples, as sizes are; a function of the class alone, of which a table is made; or computed when the generator
//! runs. What is known is computed here, for two numbers of samples where it depends on that, so that nothing of what a
//! generator file may not have is left: neither `Shape` nor arithmetic on sizes, flags or indices. What operators there are
//! else, and what they make, the table of `operators` decides.

use super::fold;
use super::source::{Node, Setting, is_standard};
use super::tensor::{Kind, Tensor};
use crate::graph::{self, Attribute, ElementType, Graph, MAX_NODES, MAX_WEIGHTS, OWN, Text, Weight};
use crate::model::INPUT_CLASS;
use crate::operators::{self, Typed, Values};
use crate::text::shown;
use std::collections::HashMap;
use std::rc::Rc;

/// Numbers of samples that sizes are computed for.
pub(super) const PROBES: [usize; 2] = [5, 7];

/// Most elements of all constants that are computed.
pub(super) const MOST_COMPUTED: usize = 1 << 26;

/// A value of the foreign graph.
#[derive(Clone)]
pub(super) enum Value<'a> {
    /// The same for all samples.
    Same(Rc<Tensor<'a>>),
    /// Known for each of [`PROBES`], and for as many samples as there are classes.
    Sized([Rc<Tensor<'a>>; 3]),
    /// Of as many samples as there are classes, each of one: in their order, and in the opposite one.
    ByClass([Rc<Tensor<'a>>; 2]),
    /// The value of this name of the new graph.
    Live(Text<'a>),
}

impl Value<'_> {
    /// Elements that are known of it.
    fn len(&self) -> usize {
        match self {
            Self::Same(tensor) => tensor.len(),
            Self::Sized(all) => all.iter().map(|tensor| tensor.len()).sum(),
            Self::ByClass(both) => both.iter().map(|tensor| tensor.len()).sum(),
            Self::Live(_) => 0,
        }
    }
}

/// One of a list of sizes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Size {
    Fixed(i64),
    /// The number of samples.
    Samples,
    /// Something else that depends on it.
    Other,
}

/// A graph in the making.
pub(super) struct Translation<'a> {
    /// Version of the operators in the foreign graph.
    pub(super) from: i64,
    /// The number of samples that the foreign graph is fixed to, if it is.
    pub(super) fixed: Option<usize>,
    pub(super) classes: usize,
    pub(super) values: HashMap<&'a str, Value<'a>>,
    pub(super) graph: Graph<'a>,
    types: Values,
    weights: HashMap<Text<'a>, usize>,
    /// Elements of constants that were computed.
    computed: usize,
    /// Names that are given, of both graphs, and how many names were made of each.
    names: HashMap<String, usize>,
    /// Values that are one for each sample, by those of which they were made.
    pub(super) each: HashMap<Text<'a>, Text<'a>>,
    /// Zeros for each sample, by their type and number of sizes.
    pub(super) nothing: HashMap<(u64, usize), Text<'a>>,
}

impl<'a> Translation<'a> {
    pub(super) fn new(from: i64, fixed: Option<usize>, names: impl Iterator<Item = &'a str>) -> Self {
        let graph = Graph { opset: from.clamp(*graph::OPSETS.start(), *graph::OPSETS.end()), ..Graph::default() };
        let names = names.map(str::to_owned).chain(["z", "class", "image_in", "image", ""].map(String::from));
        Self {
            from,
            fixed,
            classes: 0,
            values: HashMap::new(),
            graph,
            types: Values::default(),
            weights: HashMap::new(),
            computed: 0,
            names: names.map(|name| (name, 0)).collect(),
            each: HashMap::new(),
            nothing: HashMap::new(),
        }
    }

    /// Version of the operators in the new graph.
    pub(super) fn opset(&self) -> i64 {
        self.graph.opset
    }

    /// Adds an input to the new graph: of this type and shape for each sample.
    pub(super) fn input(&mut self, name: &'static str, element: ElementType, sizes: Vec<usize>) -> Result<(), String> {
        let shape = std::iter::once(None).chain(sizes.iter().map(|&n| Some(n))).collect();
        self.graph.inputs.push(graph::Port { name: name.into(), element: element as u64, shape });
        self.types.define(name, Typed { element, per_sample: true, sizes })
    }

    /// A value that depends on the class alone, given for all classes in order.
    pub(super) fn by_class(&self, tensor: Tensor<'a>) -> Result<Value<'a>, String> {
        let backwards: Vec<i64> = (0..self.classes as i64).rev().collect();
        let backwards = fold::gather(&tensor, &Tensor::of_ints(&[backwards.len()], &backwards), 0)?;
        Ok(Value::ByClass([tensor, backwards].map(Rc::new)))
    }

    /// A value of this shape, the number of samples first, whose elements are all the same.
    pub(super) fn uniform(&self, kind: Kind, sizes: &[usize], value: f64) -> Result<Value<'a>, String> {
        let [a, b] = PROBES;
        let one = Tensor::from_numbers(kind, &[], &[value]);
        let of = |n: usize| fold::expanded(&one, &[&[n], sizes].concat()).map(Rc::new);
        Ok(Value::Sized([of(a)?, of(b)?, of(self.classes.max(1))?]))
    }

    /// Translates a node.
    pub(super) fn node(&mut self, node: &Node<'a>) -> Result<(), String> {
        if !is_standard(node.domain) {
            let (op, domain) = (shown(node.op), shown(node.domain));
            return Err(format!("has the operator {op} of the domain {domain}, allowed are the standard ones"));
        }
        let in_training = match node.op {
            // Before the attribute came, outputs after the first one said it: of the batch's means.
            "BatchNormalization" if self.from < 14 => node.outputs.iter().skip(1).any(|name| !name.is_empty()),
            "BatchNormalization" => node.int("training_mode") == Some(1),
            "Dropout" => match self.optional(node, 2)? {
                Some(Value::Same(flag)) => flag.number() != Some(0.),
                flag => flag.is_some(),
            },
            _ => false,
        };
        if in_training {
            return Err(format!(
                "has {} as in training, by which images are a matter of chance, or depend on the others of the batch: export \
                 it for inference (in PyTorch after `model.eval()`)",
                node.place()
            ));
        }
        refuse_chance(node)?;
        let made = self.made(node).map_err(|what| format!("has {}, which {what}", node.place()))?;
        if let Some(value) = made {
            // What is passed on as it is takes no room.
            if !["Identity", "Dropout"].contains(&node.op) {
                self.computed += value.len();
            }
            if self.computed > MOST_COMPUTED {
                return Err(format!("has constants to be computed of more than {MOST_COMPUTED} elements"));
            }
            self.define(node, value)?;
            return Ok(());
        }
        super::lower::node(self, node)
    }

    /// What is known of a value of the foreign graph; `None` for an input that is left out.
    pub(super) fn value(&self, name: &str) -> Result<Option<&Value<'a>>, String> {
        match self.values.get(name) {
            _ if name.is_empty() => Ok(None),
            None => Err(format!("takes {}, which nothing before it makes", shown(name))),
            value => Ok(value),
        }
    }

    /// Input `i` of a node, if it is there.
    pub(super) fn optional(&self, node: &Node<'a>, i: usize) -> Result<Option<&Value<'a>>, String> {
        node.inputs.get(i).map_or(Ok(None), |name| self.value(name))
    }

    /// Input `i` of a node: a constant.
    pub(super) fn constant(&self, node: &Node<'a>, i: usize) -> Result<Option<Rc<Tensor<'a>>>, String> {
        match self.optional(node, i)? {
            None => Ok(None),
            Some(Value::Same(tensor)) => Ok(Some(tensor.clone())),
            Some(_) => Err(format!("takes {} as input {i}, which must be known before it runs", shown(node.inputs[i]))),
        }
    }

    /// Input `i` of a node: a list of sizes.
    pub(super) fn sizes(&self, node: &Node<'a>, i: usize) -> Result<Option<Vec<Size>>, String> {
        let fail = || format!("takes {} as input {i}, which must be sizes known before it runs", shown(node.inputs[i]));
        match self.optional(node, i)? {
            None => Ok(None),
            Some(Value::Same(tensor)) => {
                let all = tensor.ints().ok_or_else(fail)?;
                Ok(Some(all.into_iter().map(Size::Fixed).collect()))
            }
            Some(Value::Sized([a, b, _])) => {
                let (a, b) = (a.ints().ok_or_else(fail)?, b.ints().ok_or_else(fail)?);
                let size = |(a, b): (&i64, &i64)| match [*a, *b] {
                    [a, b] if a == b => Size::Fixed(a),
                    all if all == PROBES.map(|n| n as i64) => Size::Samples,
                    _ => Size::Other,
                };
                Ok(Some(a.iter().zip(&b).map(size).collect()))
            }
            Some(_) => Err(fail()),
        }
    }

    /// Notes what the first output of a node is.
    pub(super) fn define(&mut self, node: &Node<'a>, value: Value<'a>) -> Result<(), String> {
        let name = node.outputs.first().copied().unwrap_or_default();
        match self.values.insert(name, value) {
            Some(_) => Err(format!("has two values of the name {}", shown(name))),
            None => Ok(()),
        }
    }

    /// What a value of the new graph is.
    pub(super) fn typed(&self, name: &str) -> Result<&Typed, String> {
        self.types.get(name).ok_or_else(|| format!("takes {}, which nothing before it makes", shown(name)))
    }

    /// A name that no value has, and that tells what it is of.
    pub(super) fn fresh(&mut self, stem: &str) -> Text<'a> {
        let stem = stem.strip_prefix(OWN).unwrap_or(stem);
        let mut name = stem.to_owned();
        if let Some(&made) = self.names.get(stem) {
            // After the last one: from the first one on, so many names would take time that grows by their square.
            let mut count = made;
            while self.names.contains_key(&name) {
                count += 1;
                name = format!("{stem}/{count}");
            }
            self.names.insert(stem.to_owned(), count);
        }
        self.names.insert(name.clone(), 0);
        name.into()
    }

    /// The name in the new graph of what a node makes.
    pub(super) fn output(&mut self, name: &'a str) -> Text<'a> {
        match self.types.get(name).is_none() && !is_reserved(name) {
            true => name.into(),
            false => self.fresh(name),
        }
    }

    /// The name in the new graph of a value of the foreign one, which is put there if it is not yet.
    pub(super) fn name(&mut self, name: &'a str) -> Result<Text<'a>, String> {
        let Some(value) = self.value(name)?.cloned() else { return Ok("".into()) };
        let put = match value {
            Value::Live(put) => return Ok(put),
            Value::Same(tensor) => self.weight(name, &tensor)?,
            Value::ByClass(both) => self.row_of_class(name, &both)?,
            Value::Sized(all) => {
                let row = one_row(&all)
                    .ok_or_else(|| format!("takes {}, which depends on the number of samples", shown(name)))?;
                let row = self.weight(name, &row)?;
                self.per_sample(&row)?
            }
        };
        self.values.insert(name, Value::Live(put.clone()));
        Ok(put)
    }

    /// Adds a weight.
    pub(super) fn weight(&mut self, stem: &str, tensor: &Tensor<'a>) -> Result<Text<'a>, String> {
        let name = match self.names.contains_key(stem) && self.types.get(stem).is_none() && !is_reserved(stem) {
            true => stem.to_owned().into(),
            false => self.fresh(stem),
        };
        let weight = tensor.weight(name.clone().into_owned())?;
        self.add(weight)
    }

    /// Adds a list of integers.
    pub(super) fn list(&mut self, stem: &str, all: &[i64]) -> Result<Text<'a>, String> {
        let name = self.fresh(stem);
        self.add(Weight::sizes(name, all))
    }

    fn add(&mut self, weight: Weight<'a>) -> Result<Text<'a>, String> {
        let name = weight.name.clone();
        let typed = Typed { element: weight.element, per_sample: false, sizes: weight.shape.clone() };
        if self.graph.weights.len() == MAX_WEIGHTS {
            return Err(format!("takes more than {MAX_WEIGHTS} weights, which is the most"));
        }
        self.types.define(&name, typed)?;
        self.weights.insert(name.clone(), self.graph.weights.len());
        self.graph.weights.push(weight);
        Ok(name)
    }

    /// The row that the class picks of a table.
    fn row_of_class(&mut self, name: &str, [table, backwards]: &[Rc<Tensor<'a>>; 2]) -> Result<Text<'a>, String> {
        let reversed: Vec<i64> = (0..self.classes as i64).rev().collect();
        let is_table = table.shape.first() == Some(&self.classes)
            && fold::gather(table, &Tensor::of_ints(&[self.classes], &reversed), 0)? == **backwards;
        if !is_table {
            return Err(format!("takes {}, for which classes of several samples are mixed", shown(name)));
        }
        if table.ints().is_some_and(|all| table.shape.len() == 1 && all.iter().copied().eq(0..self.classes as i64)) {
            return Ok(INPUT_CLASS.into());
        }
        let table = self.weight(&format!("{name}/classes"), table)?;
        self.put("Gather", vec![table, INPUT_CLASS.into()], name, vec![])
    }

    /// Adds a node of one output, called after `stem`.
    pub(super) fn put(
        &mut self,
        op: &'static str,
        inputs: Vec<Text<'a>>,
        stem: &str,
        settings: Vec<(&'static str, graph::Setting<'a>)>,
    ) -> Result<Text<'a>, String> {
        let output = self.fresh(stem);
        let attributes = settings.into_iter().map(|(name, value)| Attribute { name: name.into(), value }).collect();
        self.add_node(graph::Node { op: op.into(), inputs, outputs: vec![output.clone()], attributes })?;
        Ok(output)
    }

    /// Adds a node.
    pub(super) fn add_node(&mut self, node: graph::Node<'a>) -> Result<(), String> {
        let weights = node.inputs.iter().filter_map(|name| self.weights.get(name)).map(|&at| &self.graph.weights[at]);
        // Seen here and not at the end, which a small file could put off for long.
        if self.graph.nodes.len() == MAX_NODES {
            return Err(format!("takes more than {MAX_NODES} nodes, which is the most"));
        }
        operators::next(&mut self.types, &node, self.graph.opset, &weights.collect::<Vec<_>>())?;
        self.graph.nodes.push(node);
        Ok(())
    }
}

/// The first row of a value whose rows are all the same.
fn one_row<'a>([a, b, _]: &[Rc<Tensor<'a>>; 3]) -> Option<Tensor<'a>> {
    let row = |tensor: &Tensor<'a>, n: usize| {
        let (count, rest) = tensor.shape.split_first()?;
        let len = tensor.data.len() / n;
        let is_one = *count == n && tensor.data.chunks(len.max(1)).all(|row| row == &tensor.data[..len]);
        is_one.then(|| tensor.taken(&[&[1], rest].concat(), 0..tensor.len() / n))
    };
    row(a, PROBES[0]).filter(|one| row(b, PROBES[1]).as_ref() == Some(one))
}

fn is_reserved(name: &str) -> bool {
    name.starts_with(OWN) || ["z", "class", "image_in", "image"].contains(&name)
}

/// Refuses what makes images a matter of chance, and control flow.
fn refuse_chance(node: &Node<'_>) -> Result<(), String> {
    match node.op {
        "RandomNormal" | "RandomNormalLike" | "RandomUniform" | "RandomUniformLike" | "Bernoulli" | "Multinomial" => {
            Err(format!(
                "has {}: images must be functions of the latent alone; export it without noise of its own (in StyleGAN \
                 with `noise_mode=\"const\"`), or with the noise as an input, which `--input NAME=0` fixes",
                node.place()
            ))
        }
        "If" | "Loop" | "Scan" | "SequenceMap" => {
            Err(format!("has {}, which is control flow: export it with branches and loops written out", node.place()))
        }
        _ => Ok(()),
    }
}

/// Settings of a foreign node as those of a new one, without `without`.
pub(super) fn attributes<'a>(node: &Node<'a>, without: &[&str]) -> Result<Vec<Attribute<'a>>, String> {
    let kept = node.settings.iter().filter(|(name, _)| !without.contains(name));
    kept.map(|(name, setting)| {
        let value = match setting {
            Setting::Float(x) => graph::Setting::Float(*x),
            Setting::Int(n) => graph::Setting::Int(*n),
            Setting::Text(text) => graph::Setting::Text((*text).into()),
            Setting::Ints(all) => graph::Setting::Ints(all.clone()),
            Setting::Tensor(_) | Setting::Floats(_) | Setting::Foreign => {
                return Err(format!("has the setting {}, which no generator may have", shown(name)));
            }
        };
        Ok(Attribute { name: (*name).into(), value })
    })
    .collect()
}
