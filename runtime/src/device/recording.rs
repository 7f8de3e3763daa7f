//! Work that is recorded once and put into a stream as one piece from then on: a CUDA graph.

use super::{Cudart, Stream};
use std::ffi::{c_int, c_void};
use std::ptr::{NonNull, null_mut};

/// `cudaStreamCaptureModeThreadLocal`: what other threads do meanwhile is of no concern.
const THREAD_LOCAL: c_int = 1;
/// `cudaGraphNodeTypeKernel`, `Memcpy`, `Memset`, `Empty`, `MemAlloc` and `MemFree`: what can be done again. Of a call back
/// to the host that is not known: ONNX Runtime has some that free what the recorded run has allocated.
const REPEATABLE: [c_int; 6] = [0, 1, 2, 5, 10, 11];

impl Stream {
    /// Records what `work` puts into the stream, which is not done now.
    ///
    /// # Errors
    /// Those of `work`; what cannot be recorded, or not be done more than once.
    pub(crate) fn record(&self, work: impl FnOnce() -> Result<(), String>) -> Result<Recording, String> {
        let cudart = self.cudart;
        // SAFETY: the stream is alive.
        let begun = unsafe { (cudart.cudaStreamBeginCapture)(self.as_ptr(), THREAD_LOCAL) };
        cudart.check("cudaStreamBeginCapture", begun)?;
        let worked = work();
        let mut graph = null_mut();
        // Also after an error: the stream would take nothing else.
        // SAFETY: the stream is alive, and the pointer valid for writing.
        let ended = unsafe { (cudart.cudaStreamEndCapture)(self.as_ptr(), &mut graph) };
        let ended = cudart.check("cudaStreamEndCapture", ended);
        let graph = NonNull::new(graph).map(|graph| Graph { cudart, graph });
        // Its error comes first: it may be the cause of the other.
        worked?;
        ended?;
        let graph = graph.ok_or("nothing was recorded")?;
        graph.check()?;
        let mut recording = null_mut();
        // SAFETY: the graph is alive, and the pointer valid for writing.
        let code = unsafe { (cudart.cudaGraphInstantiateWithFlags)(&mut recording, graph.graph.as_ptr(), 0) };
        cudart.check("cudaGraphInstantiateWithFlags", code)?;
        let recording = NonNull::new(recording).ok_or("null from cudaGraphInstantiateWithFlags")?;
        Ok(Recording { cudart, recording })
    }

    /// Puts recorded work into the stream.
    ///
    /// # Errors
    /// In CUDA's words.
    ///
    /// # Safety
    /// The memory that the work uses is still there.
    pub(crate) unsafe fn replay(&self, recording: &Recording) -> Result<(), String> {
        // SAFETY: both are alive, and the rest is the caller's promise.
        let code = unsafe { (self.cudart.cudaGraphLaunch)(recording.recording.as_ptr(), self.as_ptr()) };
        self.cudart.check("cudaGraphLaunch", code)
    }
}

/// What was recorded, as it is looked at: `cudaGraph_t`.
struct Graph {
    cudart: &'static Cudart,
    graph: NonNull<c_void>,
}

impl Graph {
    /// Whether it may be done more than once.
    fn check(&self) -> Result<(), String> {
        let (cudart, mut count) = (self.cudart, 0);
        // SAFETY: the graph is alive; without a list, nodes are counted.
        let code = unsafe { (cudart.cudaGraphGetNodes)(self.graph.as_ptr(), null_mut(), &mut count) };
        cudart.check("cudaGraphGetNodes", code)?;
        let mut nodes = vec![null_mut(); count];
        // SAFETY: the list has room for as many as the graph has.
        let code = unsafe { (cudart.cudaGraphGetNodes)(self.graph.as_ptr(), nodes.as_mut_ptr(), &mut count) };
        cudart.check("cudaGraphGetNodes", code)?;
        for node in nodes.into_iter().take(count) {
            let mut kind = -1;
            // SAFETY: the node is the graph's, and the pointer valid for writing.
            cudart.check("cudaGraphNodeGetType", unsafe { (cudart.cudaGraphNodeGetType)(node, &mut kind) })?;
            if !REPEATABLE.contains(&kind) {
                return Err(format!("the recording has a node of type {kind}, which cannot be repeated"));
            }
        }
        Ok(())
    }
}

impl Drop for Graph {
    fn drop(&mut self) {
        // SAFETY: made by CUDA, and destroyed once.
        self.cudart.forget(unsafe { (self.cudart.cudaGraphDestroy)(self.graph.as_ptr()) });
    }
}

/// Work that can be put into a stream as one piece: `cudaGraphExec_t`.
pub(crate) struct Recording {
    cudart: &'static Cudart,
    recording: NonNull<c_void>,
}

// SAFETY: recordings belong to the process, not to a thread; nothing is shared without a lock outside.
unsafe impl Send for Recording {}

impl Drop for Recording {
    fn drop(&mut self) {
        // SAFETY: made by CUDA, and destroyed once.
        self.cudart.forget(unsafe { (self.cudart.cudaGraphExecDestroy)(self.recording.as_ptr()) });
    }
}
