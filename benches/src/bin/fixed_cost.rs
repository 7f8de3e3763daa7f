//! What a call costs beside the arithmetic: `Generator::sample` on a generator of one number, beside the same session run by
//! ONNX Runtime's C interface on buffers bound in advance, the least that any program can do. Prints a Markdown table.

#![allow(clippy::print_stdout, reason = "a benchmark for a person at a terminal")]

use ort::session::Session;
use ort::session::builder::GraphOptimizationLevel;
use ort::{AsPointer, sys};
use runtime::{Generator, Options};
use std::hint::black_box;
use std::path::PathBuf;
use std::process::ExitCode;
use std::ptr::{null, null_mut};
use std::time::Instant;

const TRIVIAL: &str = "../runtime/tests/fixtures/trivial.onnx";
/// Calls of one kind in a row, and how often the kinds take turns.
const TURN: usize = 2000;
const TURNS: usize = 100;

fn main() -> ExitCode {
    benches::ended(measure())
}

fn measure() -> Result<(), Box<dyn std::error::Error>> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(TRIVIAL);
    let options = Options { max_batch: 1, ..Options::default() };
    let mut generator = Generator::open(&path, &options)?;
    let (mut float, mut byte) = ([0f32], [0u8]);
    let mut session = Session::builder(runtime::environment()?)?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(|e| e.to_string())?
        .with_intra_threads(1)
        .map_err(|e| e.to_string())?;
    let session = session.commit_from_file(&path)?;
    let (mut z, mut image) = (Box::new([0.5f32]), Box::new([0f32]));
    let raw = Raw::new(&session, &mut z[..], &mut image[..])?;

    let names = ["C interface, buffers bound", "`sample`, f32", "`sample`, u8"];
    let mut times = names.map(|_| Vec::with_capacity(TURN * TURNS));
    for turn in 0..TURNS as u64 {
        for (kind, times) in times.iter_mut().enumerate() {
            for call in 0..TURN as u64 {
                let start = Instant::now();
                match kind {
                    0 => raw.run(&session)?,
                    1 => generator.sample(black_box(turn), call, &mut float)?,
                    _ => generator.sample(black_box(turn), call, &mut byte)?,
                }
                times.push(start.elapsed().as_nanos() as u64);
            }
        }
    }
    black_box((image, float, byte));
    println!("| call | p50, us | p99, us | over the C interface, p50, us |");
    println!("| --- | ---: | ---: | ---: |");
    let mut least = None;
    for (name, mut times) in names.into_iter().zip(times) {
        times.sort_unstable();
        let at = |p: usize| times[(times.len() - 1) * p / 100] as f64 / 1e3;
        let least = *least.get_or_insert(at(50));
        println!("| {name} | {:.2} | {:.2} | {:+.2} |", at(50), at(99), at(50) - least);
    }
    Ok(())
}

/// One value in, one value out, bound by the C interface. What it makes lives as long as the process.
struct Raw(*mut sys::OrtIoBinding);

impl Raw {
    fn new(session: &Session, z: &mut [f32], image: &mut [f32]) -> Result<Self, String> {
        let mut binding = null_mut();
        // SAFETY: session, buffers and names are alive, and outlive the binding: the caller drops them at its end.
        unsafe {
            done((ort::api().CreateIoBinding)(session.ptr().cast_mut(), &mut binding))?;
            done((ort::api().BindInput)(binding, c"z".as_ptr(), value(z, &[1, 1])?))?;
            done((ort::api().BindOutput)(binding, c"image".as_ptr(), value(image, &[1, 1, 1, 1])?))?;
        }
        Ok(Self(binding))
    }

    fn run(&self, session: &Session) -> Result<(), String> {
        // SAFETY: as above; nothing else uses the buffers meanwhile.
        done(unsafe { (ort::api().RunWithBinding)(session.ptr().cast_mut(), null(), self.0) })
    }
}

/// A tensor on the CPU.
///
/// # Safety
/// The memory must outlive it.
unsafe fn value(data: &mut [f32], shape: &[i64]) -> Result<*mut sys::OrtValue, String> {
    let (mut memory, mut value) = (null_mut(), null_mut());
    // SAFETY: all pointers are valid; the rest is the caller's promise.
    unsafe {
        done((ort::api().CreateCpuMemoryInfo)(
            sys::OrtAllocatorType::OrtDeviceAllocator,
            sys::OrtMemType::OrtMemTypeDefault,
            &mut memory,
        ))?;
        done((ort::api().CreateTensorWithDataAsOrtValue)(
            memory,
            data.as_mut_ptr().cast(),
            size_of_val(data),
            shape.as_ptr(),
            shape.len(),
            sys::ONNXTensorElementDataType::ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT,
            &mut value,
        ))?;
    }
    Ok(value)
}

fn done(status: sys::OrtStatusPtr) -> Result<(), String> {
    if status.0.is_null() { Ok(()) } else { Err("ONNX Runtime's C interface refused a call".into()) }
}
