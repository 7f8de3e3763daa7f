//! A model file loaded into ONNX Runtime: its graph, its weights in mapped memory, its description.

mod open;

use crate::binding::Session;
use crate::checksums::Checksums;
use crate::cpu::{Cpu, Joint};
use crate::engine::OfProcess;
#[cfg(feature = "cuda")]
use crate::error::Error;
use crate::error::{ErrorKind, Fault, Result};
#[cfg(feature = "cuda")]
use crate::gpu::{Backend, Gpu};
use crate::graph::{self, Data, Graph, Weight};
#[cfg(feature = "cuda")]
use crate::model::Precision;
use crate::model::{FORMAT, ModelInfo, check_keys};
use crate::operators::{self, Checked};
use crate::options::Options;
use crate::text::shown;
use crate::weights::{Bytes, Tensors, beside, map};
use open::runner;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What generators on the same weights share.
pub(crate) struct Model {
    // Dropped before the files that it has its weights in.
    runner: Runner,
    /// Whether it is computed otherwise than as it is written.
    rewritten: bool,
    /// The model file.
    file: Arc<Bytes>,
    /// The file beside it that has its weights.
    tensors: Option<Tensors>,
    path: PathBuf,
    info: ModelInfo,
    options: Options,
    /// The process that threads belong to.
    origin: OfProcess<()>,
}

/// What messages call files that are given in memory.
pub(crate) const IN_MEMORY: &str = "in memory";
const WEIGHTS_IN_MEMORY: &str = "weights in memory";

/// What computes.
pub(crate) enum Runner {
    Cpu(Cpu),
    #[cfg(feature = "cuda")]
    Cuda(OfProcess<Box<Gpu>>),
}

/// What is to compute.
#[derive(Clone)]
pub(crate) enum Target {
    Cpu {
        /// Why not CUDA, if that was tried.
        why: Option<String>,
    },
    #[cfg(feature = "cuda")]
    Cuda(Backend),
}

impl Model {
    /// Loads the model at `path`, with the weights that it has or names.
    pub(crate) fn open(path: &Path, options: &Options, target: Target) -> Result<Self> {
        let file = map(path).map_err(|fault| fault.at(path))?;
        Self::load(file, path, options, target, |name| {
            Tensors::open(&beside(path, name).map_err(|fault| fault.at(path))?)
        })
    }

    /// Loads a model from memory; its weights, where it names a file for them, are `weights`.
    pub(crate) fn of_bytes(
        model: Arc<Bytes>,
        weights: Option<Arc<Bytes>>,
        options: &Options,
        target: Target,
    ) -> Result<Self> {
        let path = Path::new(IN_MEMORY);
        let found = Self::load(model, path, options, target, |name| match &weights {
            Some(weights) => Tensors::of(weights.clone(), Path::new(WEIGHTS_IN_MEMORY)),
            None => {
                let what = format!("has its weights in {}, which must be given beside it", shown(name));
                Err(Fault::new(ErrorKind::Argument, what).at(path))
            }
        })?;
        if weights.is_some() && found.tensors.is_none() {
            let what = "has its weights in itself, and others were given: give none, or the file that names them";
            return Err(Fault::new(ErrorKind::Argument, what).at(path));
        }
        Ok(found)
    }

    /// Loads the model in `file`, which came from `path`; `open` gives the file of this name for its weights.
    fn load(
        file: Arc<Bytes>,
        path: &Path,
        options: &Options,
        target: Target,
        open: impl FnOnce(&str) -> Result<Tensors>,
    ) -> Result<Self> {
        let fail = |fault: Fault| fault.at(path);
        let model = graph::read(&file).map_err(|fault| fail(foreign_or(fault, &file)))?;
        let info = described(model.keys(), |key| model.metadata(key)).map_err(fail)?;
        #[cfg(feature = "cuda")]
        if info.precision == Precision::Int8 && matches!(target, Target::Cuda(_)) {
            let why = format!("{} is of int8, which is for processors: export it with --precision f16", path.display());
            return Err(Error::cuda(why));
        }
        let checked = checked(&model.graph, &info).map_err(fail)?;
        let tensors = match outside(&model.graph).map_err(fail)? {
            Some(name) => Some(open(name)?),
            None => None,
        };
        let (runner, rewritten) = {
            let at = tensors.as_ref().map_or(path, Tensors::path);
            let (graph, checked) = match &tensors {
                Some(tensors) => filled(model.graph, tensors, &info),
                None => whole(&model.graph, info.checksums.as_ref()).map(|()| (model.graph, checked)),
            }
            .map_err(|fault| fault.at(at))?;
            // SAFETY: both files stay in memory after the session has ended.
            unsafe { runner(graph, &checked, path, options, target) }?
        };
        let (path, options, origin) = (path.to_owned(), options.clone(), OfProcess::new(()));
        Ok(Self { runner, rewritten, file, tensors, path, info, options, origin })
    }

    /// The same graph with the weights and the description of the safetensors file at `path`, where this one runs.
    pub(crate) fn with_weights(&self, path: &Path) -> Result<Self> {
        let fail = |fault: Fault| fault.at(path);
        let tensors = Tensors::open(path)?;
        let info = described(tensors.keys(), |key| tensors.metadata(key)).map_err(fail)?;
        if !same_architecture(&self.info, &info) {
            return Err(fail("describes a generator of another architecture than the open one".into()));
        }
        let model = graph::read(&self.file).map_err(fail)?;
        let (runner, rewritten) = {
            if info.checksums.as_ref().is_some_and(|sums| sums.check_graph(&model.graph, info.classes).is_err()) {
                return Err(fail("has the weights of another graph than the open one".into()));
            }
            let (graph, checked) = filled(model.graph, &tensors, &info).map_err(fail)?;
            // SAFETY: both files stay mapped after the session has ended.
            unsafe { runner(graph, &checked, path, &self.options, self.runner.target()) }?
        };
        let (file, path, options) = (self.file.clone(), self.path.clone(), self.options.clone());
        Ok(Self { runner, rewritten, file, tensors: Some(tensors), path, info, options, origin: OfProcess::new(()) })
    }

    pub(crate) fn runner(&self) -> &Runner {
        &self.runner
    }

    /// The session of one thread on the CPU.
    pub(crate) fn session(&self) -> Option<&Session> {
        match &self.runner {
            Runner::Cpu(cpu) => Some(cpu.session()),
            #[cfg(feature = "cuda")]
            Runner::Cuda(_) => None,
        }
    }

    /// The session of several threads there, if there is one.
    pub(crate) fn joint(&self) -> Option<&Joint> {
        match &self.runner {
            Runner::Cpu(cpu) => cpu.joint(),
            #[cfg(feature = "cuda")]
            Runner::Cuda(_) => None,
        }
    }

    /// Whether this process can draw: a child of `fork` has neither the threads of a call, nor the one that looks at its time,
    /// nor the GPU.
    ///
    /// # Errors
    /// Why it cannot, and what to do.
    pub(crate) fn check_process(&self) -> Result<()> {
        let what = match &self.runner {
            Runner::Cpu(_) if self.origin.is_ours() => return Ok(()),
            Runner::Cpu(_) if self.options.threads > 1 => format!("with {} threads a call", self.options.threads),
            Runner::Cpu(_) if self.options.time_limit.is_some() => "with options.time_limit".into(),
            Runner::Cpu(_) => return Ok(()),
            #[cfg(feature = "cuda")]
            Runner::Cuda(gpu) if gpu.is_ours() => return Ok(()),
            #[cfg(feature = "cuda")]
            Runner::Cuda(_) => "on a GPU".into(),
        };
        let what = format!("was opened {what} before this process was forked; open it in the child");
        Err(Fault::new(ErrorKind::Forked, what).at(&self.path))
    }

    pub(crate) fn is_rewritten(&self) -> bool {
        self.rewritten
    }

    pub(crate) fn info(&self) -> &ModelInfo {
        &self.info
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn options(&self) -> &Options {
        &self.options
    }
}

impl Runner {
    fn target(&self) -> Target {
        match self {
            Self::Cpu(cpu) => Target::Cpu { why: cpu.why.clone() },
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => Target::Cuda(gpu.backend()),
        }
    }
}

/// What a file says of itself, by its metadata's keys.
fn described<'a>(
    keys: impl IntoIterator<Item = &'a str>,
    get: impl Fn(&str) -> Option<String>,
) -> std::result::Result<ModelInfo, Fault> {
    let info = ModelInfo::from_metadata(get)?;
    check_keys(keys)?;
    Ok(info)
}

/// Why a file is refused: for what is in it, unless it is another tool's, of which nobody has said that it can be run.
fn foreign_or(fault: Fault, file: &[u8]) -> Fault {
    match fault.kind == ErrorKind::Unsupported && !graph::mentions(file, FORMAT) {
        true => fault.of_kind(ErrorKind::Foreign),
        false => fault,
    }
}

/// Checks a graph as the file has it, before its weights are looked for.
fn checked(graph: &Graph<'_>, info: &ModelInfo) -> std::result::Result<Checked, Fault> {
    let checked = operators::check(graph, info)?;
    info.checksums.as_ref().map_or(Ok(()), |sums| sums.check_graph(graph, info.classes))?;
    Ok(checked)
}

/// The one file that the weights of a graph are in beside it.
fn outside<'a>(graph: &Graph<'a>) -> std::result::Result<Option<&'a str>, Fault> {
    let mut found = None;
    for weight in &graph.weights {
        let Data::Outside(file) = weight.data else { continue };
        if !weight.element.is_float() {
            return Err(format!("has the integers {} in another file, which must be in it", shown(&weight.name)).into());
        }
        if found.replace(file).is_some_and(|other| other != file) {
            return Err("has its weights in several files, allowed is one safetensors file".into());
        }
    }
    Ok(found)
}

/// `graph` with the weights of `tensors`, and what is known of it with these: some, such as the scales of a Resize, say how much
/// is computed.
fn filled<'a>(
    mut graph: Graph<'a>,
    tensors: &'a Tensors,
    info: &ModelInfo,
) -> std::result::Result<(Graph<'a>, Checked), Fault> {
    // Integers are part of the graph, whatever its weights are.
    let mut weights: Vec<&mut Weight<'_>> = graph.weights.iter_mut().filter(|w| w.element.is_float()).collect();
    if weights.len() < tensors.len() {
        return Err(format!("has {} tensors, of which the graph has {}", tensors.len(), weights.len()).into());
    }
    for weight in &mut weights {
        weight.data = Data::Bytes(tensors.get(weight)?.into());
    }
    whole(&graph, info.checksums.as_ref())?;
    let checked = operators::check(&graph, info)?;
    Ok((graph, checked))
}

/// Checks that the weights of a graph are those that were written, or at least numbers.
fn whole(graph: &Graph<'_>, checksums: Option<&Checksums>) -> std::result::Result<(), Fault> {
    if let Some(sums) = checksums {
        return sums.check_weights(graph);
    }
    match graph.weights.iter().find(|weight| !weight.is_finite()) {
        Some(weight) => Err(Fault::damaged(format!("is damaged: not all numbers of the weight {weight} are finite"))),
        None => Ok(()),
    }
}

/// Whether the buffers of one generator fit the other.
fn same_architecture(a: &ModelInfo, b: &ModelInfo) -> bool {
    let of = |info: &ModelInfo| (info.precision, info.latent_dim, info.image, info.image_in, info.classes);
    of(a) == of(b)
}

#[cfg(test)]
mod tests;
