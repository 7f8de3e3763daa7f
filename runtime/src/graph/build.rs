//! Gives a graph to ONNX Runtime, by its interface for building models: weights stay where they lie in mapped files, nothing
//! is written as protobuf, and nothing is read again.

use super::weight::widen;
use super::{Data, ElementType, Graph, OWN, Port, Setting, Text, Weight};
use crate::binding::{Place, Session, Value, check};
use crate::buffer::Raw;
use crate::engine::environment;
use crate::kernels::Operators;
use ort::editor::{self, Node, ONNX_DOMAIN, Opset};
use ort::environment::Environment;
use ort::operator::Attribute;
use ort::session::builder::SessionBuilder;
use ort::value::{Outlet, Shape, SymbolicDimensions, TensorElementType, ValueType};
use ort::{AsPointer, sys};
use std::ffi::CString;
use std::ptr::{NonNull, null, null_mut};

/// The set of operators of our own: those whose names begin with [`OWN`].
pub(crate) const OURS: &str = "kiln";

/// The version of ONNX's operators in what has none of them.
const OPSET: u32 = 17;

/// Elements of fewer bytes are copied, which ONNX Runtime requires.
const LEAST_SHARED: usize = 128;

/// A session of `graph`, whose operators of our own are known to `options`. Weights that lie in files are used there if they
/// are aligned.
///
/// # Errors
/// What ONNX Runtime says.
///
/// # Safety
/// Borrowed weights must stay where they are, unchanged, as long as the session lives.
pub(crate) unsafe fn session(graph: &Graph<'_>, options: &SessionBuilder) -> Result<Session, String> {
    let text = |e: ort::Error| e.to_string();
    let mut made = editor::Graph::new().map_err(text)?;
    made.set_inputs(graph.inputs.iter().map(outlet).collect::<Result<Vec<_>, _>>()?).map_err(text)?;
    made.set_outputs(graph.outputs.iter().map(outlet).collect::<Result<Vec<_>, _>>()?).map_err(text)?;
    for weight in &graph.weights {
        // SAFETY: the caller's promise.
        unsafe { add(&made, weight) }?;
    }
    for (i, node) in graph.nodes.iter().enumerate() {
        let attributes = node.attributes.iter().map(|attribute| match &attribute.value {
            Setting::Float(x) => Attribute::new(&attribute.name, *x),
            Setting::Int(n) => Attribute::new(&attribute.name, *n),
            Setting::Text(text) => Attribute::new(&attribute.name, text.clone().into_owned()),
            Setting::Ints(numbers) => Attribute::new(&attribute.name, &numbers[..]),
        });
        let attributes = attributes.collect::<Result<Vec<_>, _>>().map_err(text)?;
        let name = i.to_string();
        let names = |all: &[Text<'_>]| all.iter().map(|name| name.clone().into_owned()).collect::<Vec<String>>();
        let (domain, op) = match node.op.strip_prefix(OWN) {
            Some(op) => (OURS, op),
            None => (ONNX_DOMAIN, &*node.op),
        };
        let node = Node::new(op, domain, name, names(&node.inputs), names(&node.outputs), attributes);
        made.add_node(node.map_err(text)?).map_err(text)?;
    }
    let opset = u32::try_from(graph.opset).map_err(|e| e.to_string())?;
    let mut model = editor::Model::new([Opset::new(ONNX_DOMAIN, opset).map_err(text)?]).map_err(text)?;
    model.set_graph(made).map_err(text)?;
    let api = editor::editor_api().map_err(text)?;
    let environment = environment().map_err(|e| e.to_string())?;
    if !graph.nodes.iter().any(|node| node.op.starts_with(OWN)) {
        let mut session = null_mut();
        // SAFETY: all are alive.
        check(unsafe { (api.CreateSessionFromModel)(environment.ptr(), model.ptr(), options.ptr(), &mut session) })?;
        return Session::new(session);
    }
    // Of the ways to a session, the one above does not look for operators of others (ONNX Runtime, model_editor_c_api.cc); those
    // that begin with a file do.
    let made = begun(environment, opset, options)?;
    // SAFETY: all are alive.
    unsafe {
        let session = made.ptr();
        check((api.ApplyModelToModelEditorSession)(session, model.ptr().cast_mut()))?;
        check((api.FinalizeModelEditorSession)(session, options.ptr(), null()))?;
        Ok(made)
    }
}

/// Makes the set of operators of our own known to ONNX Runtime. It has one list of sets a process, to which it adds this one with
/// the first session that has it, and which it reads without a lock whenever a session is made: therefore before there is one.
///
/// # Errors
/// What ONNX Runtime says.
pub(crate) fn introduce(environment: &Environment) -> Result<(), String> {
    let options = SessionBuilder::new(environment).map_err(|e| e.to_string())?;
    let options = options.with_intra_threads(1).map_err(|e| e.to_string())?;
    let _operators = Operators::register(&[], 1, &options)?;
    let begun = || begun(environment, OPSET, &options).map(drop);
    // Where another copy of this crate in the process does it at the same time, one of the two is refused (`DomainToVersion`,
    // "already exist"), and not when it asks again.
    begun().or_else(|_| begun())
}

/// A session with nothing in it, to be edited.
fn begun(environment: &Environment, opset: u32, options: &SessionBuilder) -> Result<Session, String> {
    let api = editor::editor_api().map_err(|e| e.to_string())?;
    let (file, mut session) = (empty(opset), null_mut());
    let (bytes, len) = (file.as_ptr().cast(), file.len());
    // SAFETY: all are alive, and of the file nothing is kept.
    check(unsafe {
        (api.CreateModelEditorSessionFromArray)(environment.ptr(), bytes, len, options.ptr(), &mut session)
    })?;
    Session::new(session)
}

/// A model file of these operators and our own, with nothing in it.
fn empty(opset: u32) -> Vec<u8> {
    let version = |domain: &[u8], version: u32| {
        let mut entry = vec![1 << 3 | 2, domain.len() as u8];
        entry.extend(domain);
        entry.extend([2 << 3, version as u8]);
        let mut field = vec![8 << 3 | 2, entry.len() as u8];
        field.extend(entry);
        field
    };
    let mut bytes = vec![1 << 3, 8, 7 << 3 | 2, 3, 2 << 3 | 2, 1, b'g'];
    bytes.extend(version(b"", opset));
    bytes.extend(version(OURS.as_bytes(), 1));
    bytes
}

fn outlet(port: &Port<'_>) -> Result<Outlet, String> {
    let ty = match ElementType::from_number(port.element) {
        Some(ElementType::F32) => TensorElementType::Float32,
        Some(ElementType::F16) => TensorElementType::Float16,
        Some(ElementType::I64) => TensorElementType::Int64,
        _ => return Err(format!("{} has an element type that no input or output has", port.name)),
    };
    let sizes = port.shape.iter().map(|size| size.map_or(-1, |n| n as i64));
    let symbols = port.shape.iter().map(|size| if size.is_some() { "" } else { "N" }.to_owned());
    let kind = ValueType::Tensor { ty, shape: Shape::new(sizes), dimension_symbols: SymbolicDimensions::new(symbols) };
    Ok(Outlet::new(port.name.clone(), kind))
}

/// Adds an initialiser.
///
/// # Safety
/// As [`session`].
unsafe fn add(graph: &editor::Graph, weight: &Weight<'_>) -> Result<(), String> {
    let shape: Vec<i64> = weight.shape.iter().map(|&n| n as i64).collect();
    let bytes = weight.bytes().ok_or_else(|| format!("has no data for {weight}"))?;
    let len = weight.len().ok_or_else(|| format!("has a weight of impossible size, {weight}"))?;
    let aligned = bytes.as_ptr().addr().is_multiple_of(weight.element.size());
    let is_mapped = matches!(&weight.data, Data::Bytes(std::borrow::Cow::Borrowed(_)));
    let shared = len * weight.element.size() >= LEAST_SHARED;
    let value = match is_mapped && aligned && shared {
        true => {
            let (data, size) = (bytes.as_ptr().cast_mut().cast(), weight.element.size());
            let memory = Raw { data, len, size, element: kind(weight.element) };
            // SAFETY: the bytes stay, as the caller promises, and ONNX Runtime only reads what is an initialiser.
            unsafe { Value::new(memory, &shape, Place::Host) }?
        }
        false => own(weight, bytes, &shape, len)?,
    };
    let name = CString::new(&*weight.name).map_err(|e| e.to_string())?;
    let api = editor::editor_api().map_err(|e| e.to_string())?;
    // SAFETY: graph and value are alive.
    check(unsafe { (api.AddInitializerToGraph)(graph.ptr().cast_mut(), name.as_ptr(), value.0.as_ptr(), shared) })?;
    // It is the graph's now; had that failed, it would still be ours.
    std::mem::forget(value);
    Ok(())
}

/// The elements of a weight in memory of ONNX Runtime's, which gives it back when it has arranged them otherwise.
fn own(weight: &Weight<'_>, bytes: &[u8], shape: &[i64], len: usize) -> Result<Value, String> {
    let (mut allocator, mut value, mut data) = (null_mut(), null_mut(), null_mut());
    // SAFETY: all pointers are valid for writing; the allocator is ONNX Runtime's own and never released; the value is new,
    // and has room for `len` elements of its type, which nobody else knows of; where that is none, its data is not touched,
    // since it is nowhere.
    unsafe {
        check((ort::api().GetAllocatorWithDefaultOptions)(&mut allocator))?;
        let element = kind(weight.element);
        check((ort::api().CreateTensorAsOrtValue)(allocator, shape.as_ptr(), shape.len(), element, &mut value))?;
        let made = Value(NonNull::new(value).ok_or("no value")?);
        check((ort::api().GetTensorMutableData)(value, &mut data))?;
        match &weight.data {
            _ if len == 0 => (),
            Data::Halves(halves) => {
                let out = std::slice::from_raw_parts_mut(data.cast::<f32>(), len);
                widen(halves, out);
            }
            _ => std::ptr::copy_nonoverlapping(bytes.as_ptr(), data.cast::<u8>(), bytes.len()),
        }
        Ok(made)
    }
}

fn kind(element: ElementType) -> sys::ONNXTensorElementDataType {
    use sys::ONNXTensorElementDataType as Type;
    match element {
        ElementType::F32 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
        ElementType::F16 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT16,
        ElementType::U8 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8,
        ElementType::I8 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8,
        ElementType::I32 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT32,
        ElementType::I64 => Type::ONNX_TENSOR_ELEMENT_DATA_TYPE_INT64,
    }
}
