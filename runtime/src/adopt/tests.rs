//! Foreign graphs that nobody would export, and thousands by chance: each ends in an error or a value, at once.

use super::source::{Node, Port, Setting, Source};
use super::tensor::{Kind, Tensor};
use super::translate::{Translation, Value};
use super::{Wishes, translated};
use crate::graph::{ElementType, MAX_NODES};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

/// Far more than any of these takes.
const AT_ONCE: Duration = Duration::from_secs(10);

fn node<'a>(op: &'a str, inputs: &[&'a str], output: &'a str) -> Node<'a> {
    Node { op, domain: "", inputs: inputs.to_vec(), outputs: vec![output], settings: Vec::new() }
}

fn with<'a>(node: Node<'a>, name: &'a str, setting: Setting<'a>) -> Node<'a> {
    Node { settings: vec![(name, setting)], ..node }
}

fn ints(all: &[i64]) -> Tensor<'static> {
    Tensor::of_ints(&[all.len()], all)
}

/// A generator of latents "z" [N, 4] and classes "class" [N], whose image is `image`.
fn source<'a>(constants: Vec<(&'a str, Tensor<'a>)>, nodes: Vec<Node<'a>>, image: &'a str) -> Source<'a> {
    let port = |name, kind: Kind, shape: &[Option<usize>]| Port { name, element: kind as u64, shape: shape.to_vec() };
    Source {
        opset: 17,
        inputs: vec![port("z", Kind::F32, &[None, Some(4)]), port("class", Kind::I64, &[None])],
        outputs: vec![port(image, Kind::F32, &[None, Some(1), Some(2), Some(2)])],
        constants: constants.into_iter().collect::<HashMap<_, _>>(),
        nodes,
        ..Source::default()
    }
}

fn wishes(classes: Option<usize>) -> Wishes {
    Wishes { classes, range: Some((-1., 1.)), ..Wishes::default() }
}

/// Why it is not adopted.
fn refused(constants: Vec<(&str, Tensor<'_>)>, nodes: Vec<Node<'_>>, image: &str) -> String {
    let begun = Instant::now();
    let made = translated(&source(constants, nodes, image), &wishes(Some(3)), &mut Vec::new());
    let Err(error) = made else { panic!("is adopted") };
    assert!(begun.elapsed() < AT_ONCE, "takes {:?}: {error}", begun.elapsed());
    assert!(error.len() < 1000, "{error}");
    error
}

/// Of a constant that a node makes of others, and that the image needs.
fn refused_constant<'a>(constants: Vec<(&'a str, Tensor<'a>)>, made: Node<'a>) -> String {
    refused(constants, vec![Node { outputs: vec!["made"], ..made }, node("Reshape", &["z", "made"], "image")], "image")
}

#[test]
fn what_is_chosen_by_flags_is_of_one_type() {
    let chosen = |flags: Tensor<'static>, a: Tensor<'static>, b: Tensor<'static>| {
        refused_constant(vec![("flags", flags), ("a", a), ("b", b)], node("Where", &["flags", "a", "b"], ""))
    };
    let flags = Tensor::from_ints(Kind::Bool, &[2], &[0, 0]);
    let error = chosen(flags, ints(&[1, 1]), Tensor::from_ints(Kind::U8, &[2], &[1, 1]));
    assert!(error.contains("takes bool [2], i64 [2] and u8 [2], allowed are bool and two of one type"), "{error}");
    let error = chosen(Tensor::from_numbers(Kind::F32, &[2], &[1., 1.]), ints(&[1, 1]), ints(&[1, 1]));
    assert!(error.contains("takes f32 [2], i64 [2] and i64 [2]"), "{error}");
}

#[test]
fn what_is_made_of_all_classes_together_has_no_shape_for_a_sample() {
    let row = Tensor::of_ints(&[2], &[1, -1]);
    for of_all in [
        node("Size", &["class"], "all"),
        with(node("ReduceSum", &["class"], "all"), "keepdims", Setting::Int(0)),
        node("Reshape", &["class", "row"], "all"),
    ] {
        let error = refused(
            vec![("row", row.clone())],
            vec![of_all, node("Shape", &["all"], "shape"), node("Reshape", &["z", "shape"], "image")],
            "image",
        );
        assert!(error.contains("has \"Shape\" for \"shape\", which takes i64 ["), "{error}");
        assert!(error.contains("for which classes of several samples are mixed"), "{error}");
    }
}

#[test]
fn long_lists_and_what_is_nothing_take_no_time() {
    const LONG: usize = 1 << 20;
    let (many, zeros) = (ints(&vec![1 << 40; LONG]), || ints(&vec![0; LONG]));
    let error = refused_constant(vec![("a", many)], node("ConstantOfShape", &["a"], ""));
    assert!(error.contains("which takes i64 [1048576] as input 0, which must be at most 8 integers"), "{error}");
    let error = refused_constant(vec![("a", ints(&[1])), ("b", zeros())], node("Unsqueeze", &["a", "b"], ""));
    assert!(error.contains("as input 1, which must be at most 8 integers"), "{error}");
    let setting = with(node("Unsqueeze", &["a"], ""), "axes", Setting::Ints((0..1000).collect()));
    let error = refused_constant(vec![("a", ints(&[1]))], setting);
    assert!(error.contains("has axes of 1000 integers, allowed are at most 8"), "{error}");
    let setting = with(node("Unsqueeze", &["a"], ""), "axes", Setting::Ints((0..8).collect()));
    let error = refused_constant(vec![("a", ints(&[1]))], setting);
    assert!(error.contains("makes a tensor of 9 sizes, allowed are 8"), "{error}");
    let order = with(node("Transpose", &["a"], ""), "perm", Setting::Ints(vec![0; 1000]));
    let error = refused_constant(vec![("a", ints(&[1]))], order);
    assert!(error.contains("gives i64 [1] an order of 1000 axes"), "{error}");
    let cut = node("Slice", &["a", "from", "to", "along"], "");
    let lists = vec![("a", zeros()), ("from", ints(&[0, 0])), ("to", ints(&[9, 9])), ("along", ints(&[0, -1]))];
    assert!(refused_constant(lists, cut).contains("cuts axis 0 twice"));
    // Rows without a number in them, by the billion.
    let nothing = Tensor { kind: Kind::U8, shape: vec![LONG, 1, 0], data: Vec::new().into() };
    let taken = with(node("Gather", &["a", "b"], ""), "axis", Setting::Int(1));
    refused_constant(vec![("a", nothing.clone()), ("b", zeros())], taken);
    let joined = with(node("Concat", &["a"; 255], ""), "axis", Setting::Int(2));
    let one = vec![("a", nothing)];
    let joined: Vec<Node<'_>> = (0..300).map(|_| joined.clone()).collect();
    let names: Vec<String> = (0..joined.len()).map(|i| format!("made{i}")).collect();
    let nodes = joined.into_iter().zip(&names).map(|(joined, name)| Node { outputs: vec![name], ..joined });
    let needed: Vec<&str> = names.iter().map(String::as_str).collect();
    refused(one, nodes.chain([node("Sum", &needed, "image")]).collect(), "image");
    let large = Tensor { kind: Kind::U8, shape: vec![1 << 22], data: vec![0; 1 << 22].into() };
    let error = refused_constant(vec![("a", large)], node("Concat", &["a"; 255], ""));
    assert!(error.contains("makes a tensor [1069547520], allowed are 67108864 elements"), "{error}");
}

/// What cannot be computed is not prepared: all of them in one shape would take gigabytes.
#[test]
fn many_large_constants_are_not_repeated_for_nothing() {
    let large = Tensor { kind: Kind::U8, shape: vec![1 << 22], data: vec![0; 1 << 22].into() };
    let error = refused_constant(vec![("a", large)], node("Max", &["a"; 255], ""));
    assert!(error.contains("\"Max\""), "{error}");
}

#[test]
fn a_kernel_without_positions_is_refused() {
    let kernel = Tensor { kind: Kind::F32, shape: vec![1, 1, 0, 0], data: Vec::new().into() };
    for op in ["Conv", "ConvTranspose"] {
        let error = refused(
            vec![("shape", ints(&[-1, 1, 2, 2])), ("kernel", kernel.clone())],
            vec![node("Reshape", &["z", "shape"], "x"), node(op, &["x", "kernel"], "image")],
            "image",
        );
        assert!(error.contains("allowed are 1 to 4096 positions along an axis"), "{error}");
    }
}

#[test]
fn inputs_that_are_too_large_to_be_made_are_named() {
    let refused = |shape: &[Option<usize>], wishes: Wishes| {
        let mut file = source(Vec::new(), vec![node("Add", &["z", "many"], "image")], "image");
        file.inputs[1] = Port { name: "many", element: Kind::F32 as u64, shape: shape.to_vec() };
        let Err(error) = translated(&file, &wishes, &mut Vec::new()) else { panic!("is adopted") };
        error
    };
    let class = |n| refused(&[None, Some(n)], Wishes { class: Some("many".into()), ..wishes(None) });
    let allowed = "has \"many\" f32 [N, 4096], one number for each of 4096 classes, allowed are 2048 classes";
    assert_eq!(class(4096), allowed);
    assert!(!class(2048).contains("many"), "{}", class(2048));
    for (shape, most) in [(vec![Some(1 << 12), Some(1 << 11)], "4194304"), (vec![None, Some(1 << 20)], "599186")] {
        let error = refused(&shape, Wishes { inputs: vec![("many".into(), 1.)], ..wishes(None) });
        assert!(error.starts_with("has \"many\" f32 ["), "{error}");
        assert!(error.contains(&format!("of known sizes and of at most {most} numbers")), "{error}");
    }
}

/// Whatever it is: StyleGAN's classes, of which there may be none.
#[test]
fn inputs_that_no_image_depends_on_are_left_out() {
    let mut file =
        source(vec![("shape", ints(&[-1, 1, 2, 2]))], vec![node("Reshape", &["z", "shape"], "image")], "image");
    for (kind, shape) in [(Kind::F32 as u64, vec![None, None]), (8, vec![None])] {
        file.inputs[1] = Port { name: "c", element: kind, shape };
        let (graph, _) = translated(&file, &wishes(None), &mut Vec::new()).unwrap_or_else(|e| panic!("{e}"));
        assert_eq!(graph.inputs.len(), 1);
    }
}

/// Before version 14 no attribute says so, but outputs.
#[test]
fn batch_normalisation_as_in_training_is_refused_in_old_files_too() {
    let numbers = |value: f64| Tensor::from_numbers(Kind::F32, &[1], &[value]);
    let adopt = |opset: i64, outputs: &[&'static str]| {
        let constants = [("one", numbers(1.)), ("zero", numbers(0.)), ("shape", ints(&[-1, 1, 2, 2]))];
        let normalised = Node {
            outputs: outputs.to_vec(),
            ..node("BatchNormalization", &["x", "one", "zero", "zero", "one"], "image")
        };
        let nodes = vec![node("Reshape", &["z", "shape"], "x"), normalised];
        let file = Source { opset, ..source(constants.into(), nodes, "image") };
        translated(&file, &wishes(Some(3)), &mut Vec::new()).map(drop)
    };
    adopt(9, &["image"]).expect("as it is used");
    adopt(9, &["image", "", ""]).expect("as it is used");
    let error = adopt(9, &["image", "mean", "var", "saved_mean", "saved_var"]).expect_err("as in training");
    assert!(error.contains("as in training") && error.contains("model.eval()"), "{error}");
}

/// ONNX Runtime's values are in tests/python/check_adopt.py.
#[test]
fn old_files_take_the_next_position_where_they_make_fewer() {
    let nearest = |[y, x]: [f64; 2]| {
        let constants =
            [("shape", ints(&[-1, 1, 4, 1])), ("scales", Tensor::from_numbers(Kind::F32, &[4], &[1., 1., y, x]))];
        let nodes = vec![node("Reshape", &["z", "shape"], "x"), node("Resize", &["x", "scales"], "image")];
        let file = Source { opset: 10, ..source(constants.into(), nodes, "image") };
        let (graph, _) = translated(&file, &wishes(Some(3)), &mut Vec::new())?;
        let resize = graph.nodes.iter().find(|node| node.op == "Resize").ok_or("no Resize")?;
        match resize.attribute("nearest_mode") {
            Some(crate::graph::Setting::Text(text)) => Ok(text.to_string()),
            other => Err(format!("{other:?}")),
        }
    };
    assert_eq!(nearest([0.75, 1.]).as_deref(), Ok("ceil"));
    assert_eq!(nearest([0.5, 2.]).as_deref(), Ok("floor"), "none is missed");
    assert_eq!(nearest([1.5, 3.]).as_deref(), Ok("floor"));
    assert!(nearest([0.75, 2.]).is_err_and(|error| error.contains("up and another down")));
}

/// A translation with a latent "z" [N, 4], and a class of 3 with numbers.
fn translation<'a>() -> Translation<'a> {
    let mut to = Translation::new(17, None, std::iter::empty());
    to.classes = 3;
    to.input("z", ElementType::F32, vec![4]).expect("is new");
    to.input("class", ElementType::I64, vec![]).expect("is new");
    to.values.insert("z", Value::Live("z".into()));
    let class = to.by_class(ints(&[0, 1, 2])).expect("is a table");
    to.values.insert("class", class);
    to
}

#[test]
fn what_is_needed_again_and_again_is_made_once() {
    let mut to = translation();
    let one = Rc::new(Tensor::from_numbers(Kind::F32, &[1, 1], &[0.5]));
    to.values.insert("one", Value::Same(one));
    let names: Vec<String> = (0..40).map(|i| format!("x{i}")).collect();
    let mut last = "z";
    for name in &names {
        let inputs = [&[last][..], &["one"; 255]].concat();
        let joined = with(node("Concat", &inputs, name), "axis", Setting::Int(1));
        to.node(&joined).unwrap_or_else(|e| panic!("{e}"));
        last = name;
    }
    assert!(to.graph.nodes.len() < names.len() + 8, "{} nodes", to.graph.nodes.len());
    let begun = Instant::now();
    for _ in 0..20_000 {
        to.fresh("stem");
    }
    assert!(begun.elapsed() < AT_ONCE, "{:?}", begun.elapsed());
    // Names that the file has are none of these.
    let mut to = Translation::new(17, None, ["a", "a/1", "a/3"].into_iter());
    assert_eq!(["a", "a", "a", "a/1", "b"].map(|stem| to.fresh(stem)), ["a/2", "a/4", "a/5", "a/1/1", "b"]);
}

#[test]
fn a_graph_ends_where_no_file_may_go_on() {
    let names: Vec<String> = (0..=MAX_NODES).map(|i| format!("x{i}")).collect();
    let before = ["z"].into_iter().chain(names.iter().map(String::as_str));
    let nodes = before.zip(&names).map(|(from, name)| node("Neg", &[from], name)).collect();
    let error = refused(Vec::new(), nodes, &names[MAX_NODES]);
    assert!(error.contains("takes more than 4096 nodes, which is the most"), "{error}");
    // Weights that are never looked at.
    let mut to = translation();
    let error = (0..=MAX_NODES).find_map(|_| to.list("list", &[1]).err()).expect("is refused");
    assert!(error.contains("takes more than 4096 weights, which is the most"), "{error}");
}

struct Dice(ChaCha8Rng);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Mostly a small one.
    fn int(&mut self) -> i64 {
        self.pick(&[0, 0, 1, 1, 2, 2, 3, 4, -1, -1, -2, 5, 7, 1 << 31, 1 << 62, i64::MIN, i64::MAX])
    }

    fn constant(&mut self) -> Tensor<'static> {
        let kind = self.pick(&[Kind::I64, Kind::I64, Kind::I32, Kind::Bool, Kind::U8, Kind::F32, Kind::F16, Kind::F64]);
        let rank = self.pick(&[0, 1, 1, 1, 2, 3, 8]);
        let mut shape: Vec<usize> = (0..rank).map(|_| self.pick(&[0, 1, 1, 2, 3, 3])).collect();
        if rank == 1 && self.below(20) == 0 {
            shape[0] = 5000;
        }
        let all: Vec<i64> = (0..shape.iter().product()).map(|_| self.int()).collect();
        Tensor::from_ints(kind, &shape, &all)
    }

    fn settings(&mut self) -> Vec<(&'static str, Setting<'static>)> {
        const NAMES: [&str; 10] =
            ["axis", "axes", "perm", "keepdims", "to", "start", "end", "allowzero", "starts", "ends"];
        let count = self.below(3);
        let one = |dice: &mut Self| {
            let name = dice.pick(&NAMES);
            let setting = match name {
                "axes" | "perm" | "starts" | "ends" => {
                    Setting::Ints((0..dice.pick(&[0, 1, 1, 2, 3, 100])).map(|_| dice.int()).collect())
                }
                "to" => Setting::Int(dice.pick(&[1, 2, 6, 7, 9, 10, 11, 16])),
                _ => Setting::Int(dice.int()),
            };
            (name, setting)
        };
        (0..count).map(|_| one(self)).collect()
    }
}

/// What the constants, the class and the latent of random nodes become is a value or an error, never a panic, and at once.
#[test]
fn nodes_by_chance_are_harmless() {
    const OPS: [&str; 34] = [
        "Add",
        "Cast",
        "Concat",
        "ConstantOfShape",
        "Conv",
        "ConvTranspose",
        "Div",
        "Equal",
        "Expand",
        "Flatten",
        "Gather",
        "Identity",
        "MatMul",
        "Max",
        "Mod",
        "Mul",
        "Neg",
        "OneHot",
        "Pad",
        "Pow",
        "Range",
        "ReduceMax",
        "ReduceProd",
        "ReduceSum",
        "Reshape",
        "Resize",
        "Shape",
        "Size",
        "Slice",
        "Squeeze",
        "Tile",
        "Transpose",
        "Unsqueeze",
        "Where",
    ];
    let names: Vec<String> = (0..64).map(|i| format!("v{i}")).collect();
    let (mut made, begun) = (HashMap::new(), Instant::now());
    for number in 0..6000 {
        let mut dice = Dice(ChaCha8Rng::seed_from_u64(number));
        let (mut to, mut known) = (translation(), vec!["z", "class", "class", ""]);
        for name in &names[..8] {
            to.values.insert(name, Value::Same(Rc::new(dice.constant())));
            known.push(name);
        }
        for name in &names[8..32] {
            let op = dice.pick(&OPS);
            let inputs: Vec<&str> = (0..1 + dice.below(4)).map(|_| dice.pick(&known)).collect();
            let one = Node { settings: dice.settings(), ..node(op, &inputs, name) };
            let done = to.node(&one).and_then(|()| if dice.below(4) == 0 { to.name(name).map(drop) } else { Ok(()) });
            match done {
                Ok(()) => {
                    known.push(name);
                    *made.entry(op).or_insert(0) += 1;
                }
                Err(error) => assert!(error.len() < 4000 && !error.contains(char::is_control), "{number}: {error}"),
            }
        }
        assert!(begun.elapsed() < 6 * AT_ONCE, "number {number} comes after {:?}", begun.elapsed());
    }
    // All that are computed here get somewhere.
    let later = ["Conv", "ConvTranspose", "Pad", "Resize"];
    let without: Vec<&&str> = OPS.iter().filter(|op| !made.contains_key(*op) && !later.contains(op)).collect();
    assert!(without.is_empty(), "{without:?} of {made:?}");
}
