//! Files to begin with, and what mutation number so and so makes of them.

use super::dice::Dice;
use super::protobuf::{Field, write};
use super::{mutate, soup};
use crate::common::fixture;
use runtime::Checksums;
use std::path::PathBuf;

/// A generator in files.
#[derive(Clone)]
pub struct Files {
    pub model: Vec<u8>,
    pub tensors: Option<Tensors>,
}

/// A safetensors file.
#[derive(Clone)]
pub enum Tensors {
    /// Beside the model, which names it.
    Beside(Vec<u8>),
    /// To take the place of the model's weights.
    Swapped(Vec<u8>),
}

/// The file of weights that a model beside it names.
pub const BESIDE: &str = "pair.safetensors";

impl Files {
    /// Healthy ones, all of which have checksums.
    pub fn healthy() -> Vec<Self> {
        let read = |path: PathBuf| std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
        let digits = |name: &str| read(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../models/digits").join(name));
        let alone = |model: Vec<u8>| {
            let sums = Checksums::of(&model).unwrap_or_else(|e| panic!("{e}"));
            Self { model: sealed(model, &sums), tensors: None }
        };
        let mut all: Vec<Self> = [
            "trivial.onnx",
            "dcgan-f32.onnx",
            "dcgan-f16.onnx",
            "dcgan-leaky.onnx",
            "conditional.onnx",
            "image-to-image.onnx",
            "conditional-image-to-image.onnx",
            "sprites-f16.onnx",
        ]
        .map(|name| alone(read(fixture(name))))
        .into();
        // The same generator with its weights inside.
        let sums = Checksums::of(&read(fixture("dcgan-f32.onnx"))).unwrap_or_else(|e| panic!("{e}"));
        let tensors = sealed_tensors(&read(fixture(BESIDE)), &sums);
        let model = sealed(read(fixture("pair.onnx")), &sums);
        all.push(Self { model, tensors: Some(Tensors::Beside(tensors.clone())) });
        all.push(Self { tensors: Some(Tensors::Swapped(tensors)), ..all[1].clone() });
        // These have theirs from the trainer.
        let whole = Self { model: digits("gen.onnx"), tensors: None };
        all.push(Self { tensors: Some(Tensors::Swapped(digits("gen.safetensors"))), ..whole.clone() });
        all.push(whole);
        all
    }
}

/// Mutation number `number`: of one of the `healthy` files, which it names, with its checksums or without, or of any file.
pub fn mutant(seed: u64, number: u64, healthy: &[Files]) -> (Files, Option<usize>) {
    let dice = &mut Dice::new(seed, number);
    if dice.once_in(3) {
        let mut model = soup::model(dice);
        if dice.once_in(3) {
            mutate::model(dice, &mut model, &healthy[0].model);
        }
        return (Files { model, tensors: None }, None);
    }
    let at = dice.below(healthy.len());
    let (mut files, other) = (healthy[at].clone(), dice.pick(healthy));
    let is_sealed = dice.once_in(2);
    if !is_sealed {
        unseal(&mut files.model);
        if let Some(Tensors::Beside(tensors) | Tensors::Swapped(tensors)) = &mut files.tensors {
            unseal(tensors);
        }
    }
    match &mut files.tensors {
        // Under swapped weights the graph stays.
        Some(Tensors::Swapped(tensors)) => mutate::tensors(dice, tensors, &other.model),
        Some(Tensors::Beside(tensors)) if dice.once_in(2) => mutate::tensors(dice, tensors, &other.model),
        _ if dice.once_in(3) => mutate::bytes(dice, &mut files.model, &other.model),
        _ => mutate::model(dice, &mut files.model, &other.model),
    }
    (files, is_sealed.then_some(at))
}

const GRAPH: &str = "kiln.graph_crc32c";
const WEIGHTS: &str = "kiln.weights_crc32c";

fn lines(sums: &Checksums, end: &str) -> String {
    sums.weights.iter().map(|(name, sum)| format!("{sum:08x} {name}{end}")).collect()
}

/// An ONNX file with checksums: fields at the end are as good as anywhere.
fn sealed(model: Vec<u8>, sums: &Checksums) -> Vec<u8> {
    let graph = format!("{:08x}", sums.graph);
    let entries = write(&[Field::entry(GRAPH, &graph), Field::entry(WEIGHTS, &lines(sums, "\n"))]);
    [model, entries].concat()
}

/// A safetensors file with checksums.
fn sealed_tensors(file: &[u8], sums: &Checksums) -> Vec<u8> {
    let header = 8 + u64::from_le_bytes(*file.first_chunk().expect("a length")) as usize;
    let text = std::str::from_utf8(&file[8..header]).expect("text");
    let (graph, weights) = (sums.graph, lines(sums, "\\n"));
    let at = text.find("\"kiln.").expect("metadata");
    let added = format!("\"{GRAPH}\": \"{graph:08x}\", \"{WEIGHTS}\": \"{weights}\", ");
    let text = [&text[..at], &added, &text[at..]].concat();
    [&(text.len() as u64).to_le_bytes()[..], text.as_bytes(), &file[header..]].concat()
}

/// The same file with other keys in the place of those of its checksums.
fn unseal(file: &mut [u8]) {
    for key in [GRAPH, WEIGHTS] {
        for at in 0..file.len().saturating_sub(key.len()) {
            if file[at..].starts_with(key.as_bytes()) {
                file[at] = b'K';
            }
        }
    }
}
