//! Layers as custom operators of ONNX Runtime's, by its C interface: calls that run at once share a layer, and nothing is
//! allocated on Rust's heap.

use super::{Kernel, Line, PANEL, Part, Task};
use crate::binding::check;
use crate::graph::build::OURS;
use ort::session::builder::SessionBuilder;
use ort::{AsPointer, sys};
use std::ffi::{CString, c_char, c_int, c_void};
use std::mem::offset_of;
use std::ptr::{NonNull, from_ref, null, null_mut};
use std::sync::Arc;

/// The operator of layer number `layer`.
pub(crate) fn name(layer: usize) -> String {
    format!("Layer{layer}")
}

/// The operators of one session, which must end before them.
pub(crate) struct Operators {
    domain: NonNull<sys::OrtCustomOpDomain>,
    // ONNX Runtime has their addresses.
    all: Arc<[Operator]>,
}

// SAFETY: ONNX Runtime's domain is bound to no thread, and nothing in the operators changes.
unsafe impl Send for Operators {}
// SAFETY: as above.
unsafe impl Sync for Operators {}

impl Drop for Operators {
    fn drop(&mut self) {
        // SAFETY: the domain was made by ONNX Runtime and is released once, after the session.
        unsafe { (ort::api().ReleaseCustomOpDomain)(self.domain.as_ptr()) }
    }
}

impl Operators {
    /// Makes the layers known to the session that is built, which has so many threads.
    ///
    /// # Errors
    /// What ONNX Runtime says.
    pub(crate) fn register(
        layers: &[Arc<dyn Kernel>],
        threads: usize,
        builder: &SessionBuilder,
    ) -> Result<Self, String> {
        let operator = |(number, layer): (usize, &Arc<dyn Kernel>)| {
            let name = CString::new(name(number)).map_err(|e| e.to_string())?;
            Ok(Operator { table: TABLE, name, layer: layer.clone(), threads })
        };
        let all = layers.iter().enumerate().map(operator).collect::<Result<_, String>>()?;
        let (mut domain, ours) = (null_mut(), CString::new(OURS).map_err(|e| e.to_string())?);
        // SAFETY: the name is a text, and the pointer valid for writing.
        check(unsafe { (ort::api().CreateCustomOpDomain)(ours.as_ptr(), &mut domain) })?;
        let domain = NonNull::new(domain).ok_or("no domain")?;
        let made = Self { domain, all };
        for operator in &*made.all {
            // SAFETY: both are alive, and stay where they are.
            check(unsafe { (ort::api().CustomOpDomain_Add)(domain.as_ptr(), from_ref(operator).cast()) })?;
        }
        // SAFETY: both are alive.
        check(unsafe { (ort::api().AddCustomOpDomain)(builder.ptr().cast_mut(), domain.as_ptr()) })?;
        Ok(made)
    }
}

/// One layer: what ONNX Runtime calls, and what is computed then.
#[repr(C)]
struct Operator {
    // At the beginning: ONNX Runtime gives its address back.
    table: sys::OrtCustomOp,
    name: CString,
    layer: Arc<dyn Kernel>,
    threads: usize,
}

const _: () = assert!(offset_of!(Operator, table) == 0);

/// The image, and room for computing.
const OUTPUTS: usize = 2;

const TABLE: sys::OrtCustomOp = sys::OrtCustomOp {
    version: sys::ORT_API_VERSION,
    CreateKernel: None,
    GetName: Some(get_name),
    GetExecutionProviderType: Some(get_provider),
    GetInputType: Some(get_type),
    GetInputTypeCount: Some(get_input_count),
    GetOutputType: Some(get_type),
    GetOutputTypeCount: Some(get_output_count),
    KernelCompute: None,
    KernelDestroy: Some(destroy),
    GetInputCharacteristic: Some(get_characteristic),
    GetOutputCharacteristic: Some(get_characteristic),
    GetInputMemoryType: Some(get_memory_type),
    GetVariadicInputMinArity: Some(get_one),
    GetVariadicInputHomogeneity: Some(get_one),
    GetVariadicOutputMinArity: Some(get_one),
    GetVariadicOutputHomogeneity: Some(get_one),
    CreateKernelV2: Some(create),
    KernelComputeV2: Some(compute),
    InferOutputShapeFn: None,
    GetStartVersion: Some(get_one),
    GetEndVersion: Some(get_last_version),
    GetMayInplace: None,
    ReleaseMayInplace: None,
    GetAliasMap: None,
    ReleaseAliasMap: None,
};

/// The operator that ONNX Runtime means.
///
/// # Safety
/// `table` is the one of an [`Operator`] that is alive.
unsafe fn operator<'a>(table: *const sys::OrtCustomOp) -> &'a Operator {
    // SAFETY: the table is at its beginning.
    unsafe { &*table.cast() }
}

unsafe extern "system" fn get_name(table: *const sys::OrtCustomOp) -> *const c_char {
    // SAFETY: ONNX Runtime gives what it was given.
    unsafe { operator(table) }.name.as_ptr()
}

unsafe extern "system" fn get_provider(_: *const sys::OrtCustomOp) -> *const c_char {
    null()
}

unsafe extern "system" fn get_type(_: *const sys::OrtCustomOp, _: usize) -> sys::ONNXTensorElementDataType {
    sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT
}

unsafe extern "system" fn get_input_count(_: *const sys::OrtCustomOp) -> usize {
    1
}

unsafe extern "system" fn get_output_count(_: *const sys::OrtCustomOp) -> usize {
    OUTPUTS
}

unsafe extern "system" fn get_characteristic(
    _: *const sys::OrtCustomOp,
    _: usize,
) -> sys::OrtCustomOpInputOutputCharacteristic {
    sys::OrtCustomOpInputOutputCharacteristic::INPUT_OUTPUT_REQUIRED
}

unsafe extern "system" fn get_memory_type(_: *const sys::OrtCustomOp, _: usize) -> sys::OrtMemType {
    sys::OrtMemType::OrtMemTypeDefault
}

unsafe extern "system" fn get_one(_: *const sys::OrtCustomOp) -> c_int {
    1
}

unsafe extern "system" fn get_last_version(_: *const sys::OrtCustomOp) -> c_int {
    c_int::MAX
}

/// The kernel is the operator itself, which nothing changes.
unsafe extern "system" fn create(
    table: *const sys::OrtCustomOp,
    _: *const sys::OrtApi,
    _: *const sys::OrtKernelInfo,
    kernel: *mut *mut c_void,
) -> sys::OrtStatusPtr {
    // SAFETY: the pointer is valid for writing.
    unsafe { *kernel = table.cast_mut().cast() };
    sys::OrtStatusPtr(null_mut())
}

unsafe extern "system" fn destroy(_: *mut c_void) {}

unsafe extern "system" fn compute(kernel: *mut c_void, context: *mut sys::OrtKernelContext) -> sys::OrtStatusPtr {
    // SAFETY: that is what `create` gave, and the operators live as long as the session.
    let Operator { layer, threads, .. } = unsafe { operator(kernel.cast_const().cast()) };
    let api = ort::api();
    macro_rules! ok {
        ($call:expr) => {
            let status: sys::OrtStatusPtr = $call;
            if !status.0.is_null() {
                return status;
            }
        };
    }
    const FLOAT: sys::ONNXTensorElementDataType = sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    let (mut input, mut kind, mut shape, mut rank) = (null(), FLOAT, null(), 0);
    // SAFETY: ONNX Runtime's context is valid in this call, and so are its values; all pointers are valid for writing; the
    // input has the shape that it is checked to have, in single precision, and the outputs are made in the shapes that the
    // layer writes.
    unsafe {
        ok!((api.KernelContext_GetInput)(context, 0, &mut input));
        ok!((api.GetTensorElementTypeAndShapeDataReference)(input, &mut kind, &mut shape, &mut rank));
        let sizes = std::slice::from_raw_parts(shape, rank);
        let batch = sizes.first().map_or(0, |&n| usize::try_from(n).unwrap_or(0));
        let len: i64 = sizes.iter().product();
        if kind != FLOAT || len != (batch * layer.input_len()) as i64 {
            let what = c"a layer got another shape than it was made for";
            return (api.CreateStatus)(sys::OrtErrorCode::ORT_INVALID_ARGUMENT, what.as_ptr());
        }
        let output = |number: usize, shape: &[i64], data: *mut *mut c_void| {
            let mut value = null_mut();
            ok!((api.KernelContext_GetOutput)(context, number, shape.as_ptr(), shape.len(), &mut value));
            (api.GetTensorMutableData)(value, data)
        };
        let (mut x, mut y, mut scratch) = (null_mut(), null_mut(), null_mut());
        // It is only read.
        ok!((api.GetTensorMutableData)(input.cast_mut(), &mut x));
        ok!(output(0, &layer.output_shape(batch).map(|n| n as i64), &mut y));
        ok!(output(1, &[(layer.scratch(batch, *threads) + ROOM) as i64], &mut scratch));
        let scratch = scratch.cast::<f32>();
        let scratch = scratch.add(scratch.align_offset(align_of::<Line>()).min(ROOM));
        let mut status = sys::OrtStatusPtr(null_mut());
        let task = Task { batch, x: x.cast::<f32>().cast_const(), y: y.cast(), scratch };
        layer.run(task, *threads, &mut |part| {
            if *threads > 1 {
                let mut part = part;
                let data = (&raw mut part).cast();
                status = (api.KernelContext_ParallelFor)(context, call, *threads, *threads, data);
            } else {
                part(0);
            }
        });
        status
    }
}

/// Numbers by which the scratch is larger, so that it can begin with a line of the cache.
const ROOM: usize = PANEL;

/// # Safety
/// `part` is the address of the closure that is to be called.
unsafe extern "C" fn call(part: *mut c_void, thread: usize) {
    // SAFETY: the caller's promise: it waits for all threads.
    let part = unsafe { *part.cast::<&Part<'_>>() };
    part(thread);
}
