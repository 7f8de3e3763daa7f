//! What runs a graph: the form that it is given to ONNX Runtime in, and the sessions of it.

use super::{Runner, Target};
use crate::cpu::{Computing, Cpu};
use crate::engine::environment;
use crate::error::{ErrorKind, Fault, Result};
use crate::graph::{self, Graph, Wide};
use crate::kernels::{self, NoMemory, Operators};
use crate::operators::{Alike, Checked};
use crate::options::Options;
use crate::text::one_line;
#[cfg(feature = "cuda")]
use crate::{engine::OfProcess, error::Error, gpu::Gpu, graph::ElementType};
use crate::{rewrite, rows};
use ort::environment::Environment;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use std::path::Path;

/// A session of `graph`, which came from the file at `path`, and whether it was rewritten.
///
/// # Safety
/// The files of its weights must stay mapped as long as the session lives.
pub(super) unsafe fn runner(
    graph: Graph<'_>,
    checked: &Checked,
    path: &Path,
    options: &Options,
    target: Target,
) -> Result<(Runner, bool)> {
    let is_cpu = matches!(target, Target::Cpu { .. });
    let alone = checked.alike == Alike::Alone && is_cpu;
    let together = if alone { 1 } else { options.max_batch };
    let memory = checked.live.saturating_mul(together as u64);
    if memory > MAX_WORKING_BYTES {
        let most = MAX_WORKING_BYTES / checked.live.max(1);
        let what = format!(
            "options.max_batch is {}, which takes {memory} bytes; allowed here is {most}; lower it",
            options.max_batch
        );
        return Err(Fault::new(ErrorKind::MemoryLimit, what).into());
    }
    if is_cpu && options.prepacks() && checked.repeated > MAX_REPEATED_BYTES {
        let what = format!(
            "has nodes that use the same weights: arranged for each of them, they take {} bytes more, allowed are \
             {MAX_REPEATED_BYTES}; open it with options.prepack = Some(false), which uses them as they lie in the file",
            checked.repeated
        );
        return Err(Fault::new(ErrorKind::MemoryLimit, what).at(path));
    }
    // Whether some of it is to be computed in full single precision.
    #[cfg(feature = "cuda")]
    let exact = graph.weights.iter().any(|weight| weight.element == ElementType::F32);
    let mut kernels = Vec::new();
    let (graph, rewritten) = match target {
        Target::Cpu { .. } => {
            let mut graph = graph::widened(graph);
            if options.rewrite.unwrap_or(options.prepacks() && kernels::pays_here()) {
                (graph, kernels) = rewrite::ours(graph, checked).map_err(|NoMemory| {
                    let what = "has weights that there is no memory for in the form that is computed fastest; open it with \
                                options.prepack = Some(false), which uses them as they lie in the file";
                    Fault::new(ErrorKind::Resources, what).at(path)
                })?;
                let more = kernels.iter().map(|kernel| kernel.working_bytes(together, options.threads)).max();
                let memory = memory.saturating_add(more.unwrap_or(0));
                if memory > MAX_WORKING_BYTES {
                    let what = format!(
                        "options.max_batch is {} and options.threads {}, which take {memory} bytes; allowed are \
                         {MAX_WORKING_BYTES}; lower them",
                        options.max_batch, options.threads
                    );
                    return Err(Fault::new(ErrorKind::MemoryLimit, what).into());
                }
            }
            (graph, !kernels.is_empty())
        }
        // In half precision transposed convolutions give the same bits each time as they are.
        #[cfg(feature = "cuda")]
        Target::Cuda(_) => rewrite::for_gpu(graph, checked, options.rewrite.unwrap_or(exact)),
    };
    let environment = environment()?;
    let runner = match target {
        Target::Cpu { why } => {
            let threads = |arranged: bool| match checked.alike {
                Alike::Always => rows::threads(&graph, checked, options.threads, arranged),
                Alike::OneThread | Alike::Alone => 1,
            };
            let (if_arranged, if_not) = (threads(true), threads(false));
            let prepacks = options.prepacks();
            let (graph, alike) = if prepacks { (graph, false) } else { rows::alike(graph, checked) };
            let several = if alike { if_not } else { if_arranged };
            // Those that are arranged are let go at once.
            let wide = (!prepacks).then(|| Wide::of(&graph)).flatten();
            let graph = wide.iter().fold(graph, |graph, wide| wide.put(graph));
            let session = |threads: usize, kind: ErrorKind| {
                let session = builder(environment, options, threads, !alike).and_then(|builder| {
                    let operators =
                        (!kernels.is_empty()).then(|| Operators::register(&kernels, threads, &builder)).transpose()?;
                    // SAFETY: the caller's promise; what is widened is dropped after the session.
                    let session = unsafe { graph::build::session(&graph, &builder) }?;
                    Ok(Computing::new(session, operators))
                });
                session.map_err(|e| refused(&e, kind).at(path))
            };
            let single = session(1, ErrorKind::Unsupported)?;
            // The graph was taken: what is missing are threads.
            let joint = (several > 1).then(|| session(several, ErrorKind::Resources)).transpose()?;
            Runner::Cpu(Cpu::new(single, joint, options.max_batch, wide, alone, why))
        }
        #[cfg(feature = "cuda")]
        Target::Cuda(backend) => {
            let opened = builder(environment, options, options.threads, options.prepacks())
                // SAFETY: the caller's promise.
                .and_then(|builder| unsafe { Gpu::open(backend, builder, &graph, exact) });
            opened.map(|gpu| Runner::Cuda(OfProcess::new(Box::new(gpu)))).map_err(|e| {
                Error::cuda(format!("ONNX Runtime refuses {} there: {e}; ask for cpu or auto", path.display()))
            })?
        }
    };
    Ok((runner, rewritten))
}

/// Why ONNX Runtime makes no session, which is of this kind unless it has no memory.
fn refused(words: &str, kind: ErrorKind) -> Fault {
    let no_memory = ["Failed to allocate memory", "bad_alloc", "bad allocation"].iter().any(|of| words.contains(of));
    let kind = if no_memory { ErrorKind::Resources } else { kind };
    Fault::new(kind, format!("is refused by ONNX Runtime: {}", one_line(words)))
}

/// Most bytes that ONNX Runtime works in for the largest batch.
const MAX_WORKING_BYTES: u64 = 16 << 30;

/// Most bytes of weights that are used more than once, for each use but one.
const MAX_REPEATED_BYTES: u64 = 1 << 30;

/// What all sessions have in common.
fn builder(
    environment: &Environment,
    options: &Options,
    threads: usize,
    prepack: bool,
) -> std::result::Result<SessionBuilder, String> {
    let text = |e: ort::Error<SessionBuilder>| e.to_string();
    SessionBuilder::new(environment)
        .map_err(|e| e.to_string())?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(text)?
        .with_intra_threads(threads)
        .map_err(text)?
        .with_inter_threads(1)
        .map_err(text)?
        // While a call runs, threads that spin are at hand for its next layer; after it they must not, unless that is wanted.
        .with_intra_op_spinning(true)
        .map_err(text)?
        .with_config_entry("session.force_spinning_stop", if options.spinning { "0" } else { "1" })
        .map_err(text)?
        .with_prepacking(prepack)
        .map_err(text)
}
