//! The part of the ONNX format that generators need, as protobuf messages.
//!
//! Field numbers are those of `onnx.proto` (ONNX 1.17, <https://onnx.ai>).

use prost::Message;

/// Version of the standard operators: the one place that names it.
pub(crate) const OPSET: i64 = 17;
/// Version of the file format that came with this opset.
pub(crate) const IR_VERSION: i64 = 8;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Model {
    #[prost(int64, tag = "1")]
    pub ir_version: i64,
    #[prost(message, repeated, tag = "8")]
    pub opset_import: Vec<OperatorSet>,
    #[prost(string, tag = "2")]
    pub producer_name: String,
    #[prost(string, tag = "3")]
    pub producer_version: String,
    #[prost(message, optional, tag = "7")]
    pub graph: Option<Graph>,
    #[prost(message, repeated, tag = "14")]
    pub metadata: Vec<Entry>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct OperatorSet {
    #[prost(string, tag = "1")]
    pub domain: String,
    #[prost(int64, tag = "2")]
    pub version: i64,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Entry {
    #[prost(string, tag = "1")]
    pub key: String,
    #[prost(string, tag = "2")]
    pub value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub nodes: Vec<Node>,
    #[prost(string, tag = "2")]
    pub name: String,
    #[prost(message, repeated, tag = "5")]
    pub initializers: Vec<TensorProto>,
    #[prost(message, repeated, tag = "11")]
    pub inputs: Vec<ValueInfo>,
    #[prost(message, repeated, tag = "12")]
    pub outputs: Vec<ValueInfo>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub inputs: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub outputs: Vec<String>,
    #[prost(string, tag = "3")]
    pub name: String,
    #[prost(string, tag = "4")]
    pub op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub attributes: Vec<Attribute>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Attribute {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(float, tag = "2")]
    pub float: f32,
    #[prost(int64, tag = "3")]
    pub int: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub text: Vec<u8>,
    #[prost(int64, repeated, tag = "8")]
    pub ints: Vec<i64>,
    #[prost(int32, tag = "20")]
    pub kind: i32,
}

impl Attribute {
    pub(crate) fn float(name: &str, float: f32) -> Self {
        Self { name: name.into(), float, kind: 1, ..Self::default() }
    }

    pub(crate) fn int(name: &str, int: i64) -> Self {
        Self { name: name.into(), int, kind: 2, ..Self::default() }
    }

    pub(crate) fn text(name: &str, text: &str) -> Self {
        Self { name: name.into(), text: text.into(), kind: 3, ..Self::default() }
    }

    pub(crate) fn ints(name: &str, ints: Vec<i64>) -> Self {
        Self { name: name.into(), ints, kind: 7, ..Self::default() }
    }
}

/// Element types.
pub(crate) const FLOAT: i32 = 1;
pub(crate) const UINT8: i32 = 2;
pub(crate) const INT8: i32 = 3;
pub(crate) const INT32: i32 = 6;
pub(crate) const INT64: i32 = 7;
pub(crate) const FLOAT16: i32 = 10;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorProto {
    #[prost(int64, repeated, tag = "1")]
    pub dims: Vec<i64>,
    #[prost(int32, tag = "2")]
    pub data_type: i32,
    #[prost(string, tag = "8")]
    pub name: String,
    /// Little-endian elements.
    #[prost(bytes = "vec", tag = "9")]
    pub raw_data: Vec<u8>,
    #[prost(string, tag = "12")]
    pub doc_string: String,
    /// `location`, `offset` and `length` of elements in another file.
    #[prost(message, repeated, tag = "13")]
    pub external_data: Vec<Entry>,
    /// 1 if the elements are in another file.
    #[prost(int32, tag = "14")]
    pub data_location: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct ValueInfo {
    #[prost(string, tag = "1")]
    pub name: String,
    #[prost(message, optional, tag = "2")]
    pub kind: Option<TypeProto>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TypeProto {
    #[prost(message, optional, tag = "1")]
    pub tensor: Option<TensorType>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorType {
    #[prost(int32, tag = "1")]
    pub element: i32,
    #[prost(message, optional, tag = "2")]
    pub shape: Option<TensorShape>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct TensorShape {
    #[prost(message, repeated, tag = "1")]
    pub dims: Vec<Dimension>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Dimension {
    #[prost(oneof = "Size", tags = "1, 2")]
    pub size: Option<Size>,
}

#[derive(Clone, PartialEq, prost::Oneof)]
pub(crate) enum Size {
    #[prost(int64, tag = "1")]
    Fixed(i64),
    #[prost(string, tag = "2")]
    Symbolic(String),
}

impl ValueInfo {
    /// A tensor [N, ...] with a symbolic first size.
    pub(crate) fn batch_of(name: &str, element: i32, sample: &[usize]) -> Self {
        let batch = std::iter::once(Size::Symbolic("N".into()));
        let sizes = batch.chain(sample.iter().map(|&n| Size::Fixed(n as i64)));
        let shape = TensorShape { dims: sizes.map(|size| Dimension { size: Some(size) }).collect() };
        let tensor = TensorType { element, shape: Some(shape) };
        Self { name: name.into(), kind: Some(TypeProto { tensor: Some(tensor) }) }
    }
}

/// Weights begin at multiples of this in the file, so that they can be used where they lie when it is mapped: a cache line.
const ALIGNMENT: usize = 64;

/// The bytes of the file.
pub(crate) fn encode(mut model: Model) -> Vec<u8> {
    align(&mut model);
    model.encode_to_vec()
}

/// Moves the elements of every tensor to a multiple of [`ALIGNMENT`], by blanks in the comment of the tensor before it: a
/// tensor's own comment comes after its elements.
fn align(model: &mut Model) {
    // A comment makes the lengths before it longer, rarely: then everything after has moved, and is moved once more.
    for _ in 0..4 {
        let count = model.graph.as_ref().map_or(0, |graph| graph.initializers.len());
        for i in 1..count {
            let start = starts(model)[i];
            let Some(before) = model.graph.as_mut().map(|graph| &mut graph.initializers[i - 1]) else { return };
            let comment = field_length(&before.doc_string);
            let missing = (ALIGNMENT - start % ALIGNMENT + comment) % ALIGNMENT;
            // The shortest comment takes three bytes.
            let length = if missing == 0 || missing > 2 { missing } else { missing + ALIGNMENT };
            before.doc_string = " ".repeat(length.saturating_sub(2));
        }
        if starts(model).iter().skip(1).all(|start| start % ALIGNMENT == 0) {
            return;
        }
    }
}

/// Bytes that a text of less than 128 takes as a field.
fn field_length(text: &str) -> usize {
    if text.is_empty() { 0 } else { 2 + text.len() }
}

/// Where in the file the elements of each initialiser begin.
fn starts(model: &Model) -> Vec<usize> {
    let Some(graph) = &model.graph else { return Vec::new() };
    // Fields are written in the order of their numbers.
    let before = Model {
        ir_version: model.ir_version,
        producer_name: model.producer_name.clone(),
        producer_version: model.producer_version.clone(),
        ..Model::default()
    };
    let graph_before = Graph { nodes: graph.nodes.clone(), name: graph.name.clone(), ..Graph::default() };
    let head = |length: usize| 1 + prost::length_delimiter_len(length);
    let mut at = before.encoded_len() + head(graph.encoded_len()) + graph_before.encoded_len();
    let mut all = Vec::new();
    for tensor in &graph.initializers {
        let length = tensor.encoded_len();
        at += head(length) + length;
        all.push(at - field_length(&tensor.doc_string) - tensor.raw_data.len());
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn model(sizes: &[usize]) -> Model {
        let tensor = |(i, &n): (usize, &usize)| TensorProto {
            dims: vec![n as i64],
            data_type: FLOAT,
            name: format!("weight{i}"),
            raw_data: vec![i as u8 + 1; n],
            ..TensorProto::default()
        };
        let initializers = sizes.iter().enumerate().map(tensor).collect();
        let graph = Graph { name: "g".into(), initializers, ..Graph::default() };
        Model { ir_version: IR_VERSION, graph: Some(graph), ..Model::default() }
    }

    #[test]
    fn elements_are_aligned_in_the_file_and_unchanged() {
        // Lengths around those where the length of a length changes.
        for n in (100..150).chain(16_250..16_400) {
            let model = model(&[8, n, 64, n + 7, 20, 70_000, 33]);
            let bytes = encode(model.clone());
            let read = Model::decode(&bytes[..]).expect("decodes").graph.expect("a graph");
            let whole = model.graph.expect("a graph");
            for (i, (a, b)) in read.initializers.iter().zip(&whole.initializers).enumerate() {
                assert_eq!((&a.name, &a.dims, &a.raw_data), (&b.name, &b.dims, &b.raw_data));
                let place = bytes.windows(a.raw_data.len()).position(|window| window == a.raw_data).expect("is there");
                assert!(i == 0 || place % ALIGNMENT == 0, "tensor {i} of {n} begins at {place}");
            }
        }
    }
}
