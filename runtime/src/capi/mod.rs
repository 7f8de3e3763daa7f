//! The C interface that `include/kiln.h` declares, under the feature `capi`.
//!
//! The header is generated from this module; what a C programmer has to know stands there. Nothing that a caller passes
//! can be undefined behaviour as long as pointers point to what the lengths beside them say: handles are numbers that are
//! looked up, enumerations and flags come in as integers that are checked, and no panic gets out.

mod convert;
mod draw;
mod errors;
mod generator;
mod handles;
mod latent;
mod layout;
mod log;
mod memory;
mod pool;
mod status;
mod stream;
mod structs;
mod texts;
mod versions;

pub use draw::{kiln_draw, kiln_sample};
pub use errors::{kiln_error_text, kiln_generator_error, kiln_pool_error, kiln_status_text, kiln_stream_error};
pub use generator::{
    kiln_cancel, kiln_class_name, kiln_class_named, kiln_clone, kiln_close, kiln_info, kiln_load, kiln_open,
    kiln_open_memory, kiln_swap_weights, kiln_warm_up,
};
pub use handles::{KILN_MAX_GENERATORS, KILN_MAX_POOLS, KILN_MAX_STREAMS, KilnGenerator, KilnPool, KilnStream};
pub use latent::{kiln_fill_latent, kiln_fill_truncated, kiln_walk};
pub use layout::kiln_draw_interleaved;
pub use log::{
    KILN_SEVERITY_ERROR, KILN_SEVERITY_FATAL, KILN_SEVERITY_INFO, KILN_SEVERITY_VERBOSE, KILN_SEVERITY_WARNING,
    KilnLog, kiln_log_to,
};
pub use pool::{
    kiln_pool_close, kiln_pool_draw, kiln_pool_draw_timeout, kiln_pool_open, kiln_pool_sample, kiln_pool_warm_up,
};
pub use status::KilnStatus;
pub use stream::{
    kiln_stream_close, kiln_stream_missed, kiln_stream_next, kiln_stream_next_timeout, kiln_stream_open,
    kiln_stream_try_next,
};
pub use structs::{
    KILN_BY_START, KILN_CLASSES_EACH, KILN_CLASSES_ONE, KILN_CLASSES_OWN, KILN_ELEMENT_F16, KILN_ELEMENT_F32,
    KILN_ELEMENT_U8, KILN_IMAGES_F32, KILN_IMAGES_NONE, KILN_IMAGES_U8, KILN_LATENTS_GIVEN, KILN_LATENTS_SEED,
    KILN_LATENTS_SEEDS, KILN_LATENTS_TOUR_GIVEN, KILN_LATENTS_TOUR_SEEDS, KILN_LATENTS_WALK, KILN_NO,
    KILN_PROVIDER_AUTO, KILN_PROVIDER_CPU, KILN_PROVIDER_CUDA, KILN_START_FAST, KILN_START_STEADY, KILN_YES,
    KilnEngine, KilnImageShape, KilnInfo, KilnOptions, KilnRequest, kiln_options_default, kiln_request_default,
};
pub use texts::{
    KILN_TEXT_DATA, KILN_TEXT_DATA_SHA256, KILN_TEXT_PARITY, KILN_TEXT_QUALITY, KILN_TEXT_RECIPE,
    KILN_TEXT_RECIPE_SHA256, KILN_TEXT_TRAINER, kiln_engine, kiln_info_text, kiln_why_cpu,
};
pub use versions::kiln_version;
