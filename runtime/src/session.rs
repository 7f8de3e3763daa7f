//! A model file loaded into ONNX Runtime: its graph, its weights in mapped memory, its description.

use crate::engine::{OfProcess, environment};
use crate::error::{Error, Result};
#[cfg(feature = "cuda")]
use crate::gpu::{Backend, Gpu};
use crate::graph::{self, Data, Element, Place, Weight};
use crate::model::{CLASS, IMAGE, IMAGE_IN, LATENT, ModelInfo, Precision};
use crate::options::{Options, Start};
use crate::rewrite::{self, Form};
use crate::weights::{Tensors, beside, map};
use memmap2::Mmap;
use ort::session::Session;
use ort::session::builder::{GraphOptimizationLevel, SessionBuilder};
use ort::value::{Outlet, TensorElementType, ValueType};
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What generators on the same weights share.
pub(crate) struct Model {
    runner: Runner,
    /// Whether its transposed convolutions are written as ordinary ones.
    rewritten: bool,
    /// The model file.
    graph: Arc<Mmap>,
    path: PathBuf,
    info: ModelInfo,
    options: Options,
}

/// What computes.
pub(crate) enum Runner {
    Cpu {
        session: OfProcess<Session>,
        /// Why not CUDA, if that was tried.
        why: Option<String>,
    },
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
        let fail = |what: String| Error::Model { path: path.to_owned(), what };
        let graph = Arc::new(map(path).map_err(fail)?);
        let (runner, rewritten) = match outside(&graph).map_err(fail)? {
            Some(name) => {
                let path = beside(folder_of(path), name).map_err(fail)?;
                on_tensors(&graph, &path, &Tensors::open(&path)?, options, target)?
            }
            None => on_itself(&graph, path, options, target)?,
        };
        let inspected = runner.inspect(|session| {
            let info = described_by(session)?;
            check_ports(session, &info)?;
            Ok(info)
        });
        let info = inspected.map_err(fail)?;
        Ok(Self { runner, rewritten, graph, path: path.to_owned(), info, options: options.clone() })
    }

    /// The same graph with the weights and the description of the safetensors file at `path`, where this one runs.
    pub(crate) fn with_weights(&self, path: &Path) -> Result<Self> {
        let fail = |what: String| Error::Model { path: path.to_owned(), what };
        let tensors = Tensors::open(path)?;
        let info = ModelInfo::from_metadata(|key| tensors.metadata(key)).map_err(|e| fail(e.to_string()))?;
        if !same_architecture(&self.info, &info) {
            return Err(fail("describes a generator of another architecture than the open one".into()));
        }
        let (runner, rewritten) = on_tensors(&self.graph, path, &tensors, &self.options, self.runner.target())?;
        let (graph, options) = (self.graph.clone(), self.options.clone());
        Ok(Self { runner, rewritten, graph, path: self.path.clone(), info, options })
    }

    pub(crate) fn runner(&self) -> &Runner {
        &self.runner
    }

    /// Whether this process can draw: a child of `fork` has neither the threads of a call nor the GPU.
    ///
    /// # Errors
    /// Why it cannot, and what to do.
    pub(crate) fn check_process(&self) -> Result<()> {
        let what = match &self.runner {
            Runner::Cpu { session, .. } if session.is_ours() || self.options.threads == 1 => return Ok(()),
            Runner::Cpu { .. } => format!("with {} threads a call", self.options.threads),
            #[cfg(feature = "cuda")]
            Runner::Cuda(gpu) if gpu.is_ours() => return Ok(()),
            #[cfg(feature = "cuda")]
            Runner::Cuda(_) => "on a GPU".into(),
        };
        Err(Error::Run(format!("the generator was opened {what} before this process was forked; open it in the child")))
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
            Self::Cpu { why, .. } => Target::Cpu { why: why.clone() },
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => Target::Cuda(gpu.backend()),
        }
    }

    fn inspect<R>(&self, look: impl FnOnce(&Session) -> R) -> R {
        match self {
            Self::Cpu { session, .. } => look(session),
            #[cfg(feature = "cuda")]
            Self::Cuda(gpu) => gpu.inspect(look),
        }
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// The one file that the weights of a model are in beside it.
fn outside(model: &[u8]) -> std::result::Result<Option<&str>, String> {
    let mut found = None;
    for weight in graph::weights(model)? {
        if let Place::Outside(file) = weight.place
            && found.replace(file).is_some_and(|other| other != file)
        {
            return Err("has its weights in several files, allowed is one safetensors file".into());
        }
    }
    Ok(found)
}

/// Whether the buffers of one generator fit the other.
fn same_architecture(a: &ModelInfo, b: &ModelInfo) -> bool {
    let of = |info: &ModelInfo| (info.precision, info.latent_dim, info.image, info.image_in, info.classes);
    of(a) == of(b)
}

/// A session of `model` with its own weights.
fn on_itself(model: &[u8], path: &Path, options: &Options, target: Target) -> Result<(Runner, bool)> {
    session(model, path, options, target, |weight| match weight.place {
        Place::Inside(bytes) => Ok(Data { offset: bytes.as_ptr().addr() - model.as_ptr().addr(), bytes }),
        Place::Outside(_) => Err(format!("has no data for {weight}")),
    })
}

/// A session of `model` with the weights of the safetensors file at `path`.
fn on_tensors<'a>(
    model: &'a [u8],
    path: &Path,
    tensors: &'a Tensors,
    options: &Options,
    target: Target,
) -> Result<(Runner, bool)> {
    let fail = |what: String| Error::Model { path: path.to_owned(), what };
    let has = graph::weights(model).map_err(fail)?;
    let used = has.iter().filter(|weight| !is_own(weight)).count();
    if used < tensors.len() {
        return Err(fail(format!("has {} tensors, of which the graph has {used}", tensors.len())));
    }
    session(model, path, options, target, |weight| match weight.place {
        Place::Inside(bytes) if is_own(weight) => Ok(Data { offset: 0, bytes }),
        _ => tensors.get(weight),
    })
}

/// Whether a tensor is part of the graph whatever its weights are: sizes and the like.
fn is_own(weight: &Weight<'_>) -> bool {
    weight.element == Element::I64 && matches!(weight.place, Place::Inside(_))
}

/// A file that ONNX Runtime is to map: its folder without links, and its name, if both can be told to it.
struct File(PathBuf);

impl File {
    fn at(path: &Path) -> std::result::Result<Self, String> {
        std::fs::canonicalize(path).map(Self).map_err(|e| format!("cannot be opened: {e}"))
    }

    fn name(&self) -> Option<&str> {
        self.0.to_str().and(self.0.file_name()).and_then(|name| name.to_str())
    }

    fn folder(&self) -> Option<&str> {
        self.0.parent().and_then(|folder| folder.to_str())
    }
}

/// A session of `model`, where `data` gives the weights, which lie in the file at `path`, and whether it was rewritten.
fn session<'a>(
    model: &'a [u8],
    path: &Path,
    options: &Options,
    target: Target,
    mut data: impl FnMut(&Weight<'a>) -> std::result::Result<Data<'a>, String>,
) -> Result<(Runner, bool)> {
    let fail = |what: String| Error::Model { path: path.to_owned(), what };
    let file = File::at(path).map_err(fail)?;
    // Whether some of it is to be computed in full single precision.
    #[cfg(feature = "cuda")]
    let exact = graph::weights(model).map_err(fail)?.iter().any(|weight| weight.element == Element::F32);
    let (form, is_best) = match target {
        Target::Cpu { .. } => (Form::Apart, options.start == Start::Steady && rewrite::pays_here()),
        // In half precision transposed convolutions give the same bits each time as they are.
        #[cfg(feature = "cuda")]
        Target::Cuda(_) => (Form::Together, exact),
    };
    let rewritten = match options.rewrite.unwrap_or(is_best) {
        true => rewrite::rewritten(model, form, &mut data).map_err(fail)?,
        false => None,
    };
    let is_rewritten = rewritten.is_some();
    let model = match rewritten {
        Some(model) => model,
        None => graph::with_weights(model, file.name(), data).map_err(fail)?,
    };
    let runner = match target {
        Target::Cpu { why } => {
            let session = builder(&file, options)
                .and_then(|mut builder| builder.commit_from_memory(&model).map_err(|e| e.to_string()));
            let session = session.map_err(|e| fail(format!("ONNX Runtime refuses it: {e}")))?;
            Runner::Cpu { session: OfProcess::new(session), why }
        }
        #[cfg(feature = "cuda")]
        Target::Cuda(backend) => {
            let opened = builder(&file, options).and_then(|builder| Gpu::open(backend, builder, &model, exact));
            opened.map(|gpu| Runner::Cuda(OfProcess::new(Box::new(gpu)))).map_err(|e| {
                let why = format!("ONNX Runtime refuses {} there: {e}; ask for cpu or auto", path.display());
                Error::Provider { provider: "cuda", why }
            })?
        }
    };
    Ok((runner, is_rewritten))
}

/// What all sessions have in common.
fn builder(file: &File, options: &Options) -> std::result::Result<SessionBuilder, String> {
    const FOLDER: &str = "session.model_external_initializers_file_folder_path";
    let text = |e: ort::Error<SessionBuilder>| e.to_string();
    let environment = environment().map_err(|e| e.to_string())?;
    let builder = Session::builder(environment)
        .map_err(|e| e.to_string())?
        .with_optimization_level(GraphOptimizationLevel::All)
        .map_err(text)?
        .with_intra_threads(options.threads)
        .map_err(text)?
        .with_inter_threads(1)
        .map_err(text)?
        .with_intra_op_spinning(options.spinning)
        .map_err(text)?
        .with_prepacking(options.start == Start::Steady)
        .map_err(text)?;
    match file.folder() {
        Some(folder) => builder.with_config_entry(FOLDER, folder).map_err(text),
        None => Ok(builder),
    }
}

/// What a session's model says of itself.
fn described_by(session: &Session) -> std::result::Result<ModelInfo, String> {
    let metadata = session.metadata().map_err(|e| format!("has no readable metadata: {e}"))?;
    ModelInfo::from_metadata(|key| metadata.custom(key)).map_err(|e| e.to_string())
}

/// Checks that a session has the inputs and outputs that `info` says, and no others.
fn check_ports(session: &Session, info: &ModelInfo) -> std::result::Result<(), String> {
    let float = match info.precision {
        Precision::F16 => TensorElementType::Float16,
        Precision::F32 => TensorElementType::Float32,
    };
    let mut inputs = vec![(LATENT, float, vec![info.latent_dim])];
    if info.classes > 0 {
        inputs.push((CLASS, TensorElementType::Int64, vec![]));
    }
    if let Some(image) = info.image_in {
        inputs.push((IMAGE_IN, float, image.sizes().to_vec()));
    }
    ports("input", session.inputs(), &inputs)?;
    ports("output", session.outputs(), &[(IMAGE, float, info.image.sizes().to_vec())])
}

/// Checks that `all` are the `wanted`: names, types and shapes [N, sample...] with a symbolic N.
fn ports(
    kind: &str,
    all: &[Outlet],
    wanted: &[(&CStr, TensorElementType, Vec<usize>)],
) -> std::result::Result<(), String> {
    let fits = |outlet: &Outlet, (name, element, sample): &(&CStr, TensorElementType, Vec<usize>)| {
        let shape = std::iter::once(-1).chain(sample.iter().map(|&n| n as i64));
        let same_type = match outlet.dtype() {
            ValueType::Tensor { ty, shape: found, .. } => ty == element && found.iter().copied().eq(shape),
            _ => false,
        };
        same_type && name.to_str() == Ok(outlet.name())
    };
    if all.len() == wanted.len() && wanted.iter().all(|port| all.iter().any(|outlet| fits(outlet, port))) {
        return Ok(());
    }
    let list = |names: Vec<String>| names.join(", ");
    let found = list(all.iter().map(|outlet| format!("{}: {}", outlet.name(), outlet.dtype())).collect());
    let wanted = wanted.iter().map(|(name, element, sample)| {
        let sizes: String = sample.iter().map(|n| format!(", {n}")).collect();
        format!("{}: {element} [N{sizes}]", name.to_string_lossy())
    });
    Err(format!("has the {kind}s {found}; by its metadata it must have {}, with a symbolic N", list(wanted.collect())))
}
