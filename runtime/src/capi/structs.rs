//! The structs that go in and out, and their constants.

use super::status::{KilnStatus, guard};
use super::versions::{Versioned, write};
use std::ffi::{c_char, c_void};
use std::mem::offset_of;
use std::ptr::{null, null_mut};

/// Elements of 8 bits, 0 to 255: uint8_t.
pub const KILN_ELEMENT_U8: u32 = 0;
/// IEEE half precision, nominally -1 to 1: its bits as uint16_t.
pub const KILN_ELEMENT_F16: u32 = 1;
/// IEEE single precision, nominally -1 to 1: float.
pub const KILN_ELEMENT_F32: u32 = 2;

/// CUDA where it works, else the CPU, as for KILN_START_FAST; kiln_info says which.
pub const KILN_PROVIDER_AUTO: u32 = 0;
/// The CPU.
pub const KILN_PROVIDER_CPU: u32 = 1;
/// An NVIDIA GPU; an error where it does not work.
pub const KILN_PROVIDER_CUDA: u32 = 2;

/// For many samples: weights are arranged for the processor once, and the file's self-test is replayed.
pub const KILN_START_STEADY: u32 = 0;
/// For a few samples, soon: neither, which makes every sample slower; KILN_PROVIDER_AUTO is then the CPU.
pub const KILN_START_FAST: u32 = 1;

/// With KILN_START_STEADY, not with KILN_START_FAST.
pub const KILN_BY_START: u32 = 0;
/// In any case.
pub const KILN_YES: u32 = 1;
/// Not at all.
pub const KILN_NO: u32 = 2;

/// Latents of a seed, from the index `first` on.
pub const KILN_LATENTS_SEED: u32 = 0;
/// Latents along a walk, from the frame `first` on.
pub const KILN_LATENTS_WALK: u32 = 1;
/// Latents of the caller's.
pub const KILN_LATENTS_GIVEN: u32 = 2;
/// Latents of several seeds: that of the index `first` of each.
pub const KILN_LATENTS_SEEDS: u32 = 3;
/// Latents along a walk through those of several seeds, of the index 0 of each; from the frame `first` on.
pub const KILN_LATENTS_TOUR_SEEDS: u32 = 4;
/// Latents along a walk through several of the caller's, from the frame `first` on.
pub const KILN_LATENTS_TOUR_GIVEN: u32 = 5;

/// The class of an image of a seed or of seeds is its index modulo the number of classes, that of every other image is 0.
pub const KILN_CLASSES_OWN: u32 = 0;
/// One class for all images.
pub const KILN_CLASSES_ONE: u32 = 1;
/// A class for each image.
pub const KILN_CLASSES_EACH: u32 = 2;

/// No image goes in.
pub const KILN_IMAGES_NONE: u32 = 0;
/// Images of float go in, nominally -1 to 1.
pub const KILN_IMAGES_F32: u32 = 1;
/// Images of uint8_t go in, 0 to 255.
pub const KILN_IMAGES_U8: u32 = 2;

/// How a generator is opened. Fill it with kiln_options_default, then change what should be otherwise.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KilnOptions {
    /// Bytes of this struct as the caller knows it; kiln_options_default sets it.
    pub struct_size: usize,
    /// Where it runs: one of KILN_PROVIDER_*. Default: KILN_PROVIDER_AUTO.
    pub provider: u32,
    /// What opening is good for: one of KILN_START_*. Default: KILN_START_STEADY.
    pub start: u32,
    /// Threads of one call on the CPU, 1 to 1024, of this handle alone: a batch is divided among them, one image is drawn by
    /// all. Default: 1.
    pub threads: u32,
    /// Most images a call, 1 to 4096; sizes the buffers. Default: 64.
    pub max_batch: u32,
    /// 1: threads spin between calls while they wait, which saves microseconds a call and burns a core for a while; of no
    /// effect with one thread. 0: they do not. Default: 0.
    pub spinning: u32,
    /// Milliseconds that a call which draws or warms up may take, and the self-test at opening: one that takes longer is
    /// ended with KILN_STATUS_TIME_LIMIT, after the layer at hand. Drawn ahead, it holds for each frame. On a GPU what is in
    /// the device's queue already is waited for, and a warm-up is not ended. 0: as long as it takes. Default: 0.
    pub time_limit_ms: u32,
    /// Where the text of an error of opening goes, or an empty one: memory of the caller's, used during the call alone, for
    /// languages that may go on in another thread before they have called kiln_error_text. A longer text is cut between two
    /// characters; it ends in NUL in any case. Default: null.
    pub error_text: *mut c_char,
    /// Bytes at `error_text`; 2000 are enough for nearly all texts. Default: 0.
    pub error_capacity: usize,
    /// Whether the file's self-test is replayed when it is opened: KILN_BY_START, KILN_YES or KILN_NO; on a GPU it is in any
    /// case. Default: KILN_BY_START.
    pub self_test: u32,
    /// Whether weights are arranged for the processor when it is opened: KILN_BY_START, KILN_YES or KILN_NO. Without it
    /// they are used as they lie in the file, which opens sooner, takes less memory, and makes every sample slower;
    /// values may differ in their last bits. On a GPU it makes no difference. Default: KILN_BY_START.
    pub prepack: u32,
}

/// The shape of one image.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct KilnImageShape {
    /// 1 for grey, 2 for grey and opacity (alpha), 3 for red, green, blue, 4 for these and opacity. Opacity is straight: the
    /// colours are not multiplied by it.
    pub channels: u32,
    /// Rows.
    pub height: u32,
    /// Columns.
    pub width: u32,
}

/// What a generator is.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KilnInfo {
    /// Bytes of this struct that were filled in.
    pub struct_size: usize,
    /// Elements of one image: channels x height x width.
    pub image_len: usize,
    /// Elements of one image that goes in; 0 for generators that take none.
    pub image_in_len: usize,
    /// Real images shown in training; 0 if that is not recorded.
    pub images_seen: u64,
    /// Shape of an image.
    pub image: KilnImageShape,
    /// Shape of the image that goes in; zeros for generators that take none.
    pub image_in: KilnImageShape,
    /// Elements of a latent.
    pub latent_dim: u32,
    /// Number of classes; 0 when unconditional. kiln_class_name tells their names.
    pub classes: u32,
    /// What the generator computes in: KILN_ELEMENT_F16, KILN_ELEMENT_F32, or KILN_ELEMENT_U8 where most of it is quantised
    /// (int8). Images come in whatever type is asked for.
    pub precision: u32,
    /// Where it really runs: KILN_PROVIDER_CPU or KILN_PROVIDER_CUDA.
    pub provider: u32,
    /// Most images a call.
    pub max_batch: u32,
    /// 0.
    pub reserved: u32,
    /// Bytes of this handle's own buffers, which a clone or a member of a pool takes once more: those of max_batch inputs and
    /// images. What ONNX Runtime works in comes on top, and the weights, which clones share.
    pub buffer_bytes: u64,
    /// How far a value, nominally -1 to 1, may be from that of another machine.
    pub tolerance: f32,
    /// 1 if classes have names, else 0.
    pub has_class_names: u32,
}

/// What to draw. Fill it with kiln_request_default, then change what should be otherwise.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KilnRequest {
    /// Bytes of this struct as the caller knows it; kiln_request_default sets it.
    pub struct_size: usize,
    /// Where latents come from: one of KILN_LATENTS_*. Default: KILN_LATENTS_SEED.
    pub latents: u32,
    /// KILN_LATENTS_WALK and KILN_LATENTS_TOUR_*: frames from one image to the next, 1 or more. Default: 60.
    pub walk_steps: u32,
    /// KILN_LATENTS_SEED and KILN_LATENTS_WALK: the seed. Default: 0.
    pub seed: u64,
    /// KILN_LATENTS_WALK: index of the image that the walk begins at. Default: 0.
    pub walk_first_index: u64,
    /// The index of the seed, or frame of the walk or tour, to begin at; of several seeds, the index in each. Default: 0.
    pub first: u64,
    /// KILN_LATENTS_GIVEN and KILN_LATENTS_TOUR_GIVEN: the latents, [n, latent_dim] or [stops, latent_dim], finite numbers of at
    /// most 65504. Default: null.
    pub given: *const f32,
    /// KILN_LATENTS_GIVEN and KILN_LATENTS_TOUR_GIVEN: number of elements, n or stops x latent_dim; of stops there are 2 or more.
    pub given_len: usize,
    /// Where the normal distribution is cut off, in standard deviations; 0: nowhere. For seeds, and walks and tours of them.
    /// Default: 0.
    pub truncation: f32,
    /// Of which classes images are, for conditional generators: one of KILN_CLASSES_*. Default: KILN_CLASSES_OWN.
    pub classes: u32,
    /// KILN_CLASSES_EACH: the classes, one for each image. Default: null.
    pub each_class: *const u32,
    /// KILN_CLASSES_EACH: number of classes, n.
    pub each_class_len: usize,
    /// KILN_CLASSES_ONE: the class; kiln_class_named finds it by its name.
    pub one_class: u32,
    /// What images go in, for image-to-image generators: one of KILN_IMAGES_*. Default: KILN_IMAGES_NONE.
    pub images: u32,
    /// KILN_IMAGES_F32: one image or n of them, [C, h, w] or [n, C, h, w], as float; KILN_IMAGES_U8: as uint8_t. Default:
    /// null.
    pub image: *const c_void,
    /// KILN_IMAGES_F32 and KILN_IMAGES_U8: number of elements.
    pub image_len: usize,
    /// KILN_LATENTS_SEEDS: the seeds, one for each image; KILN_LATENTS_TOUR_SEEDS: those of the stops. Default: null.
    pub seeds: *const u64,
    /// KILN_LATENTS_SEEDS and KILN_LATENTS_TOUR_SEEDS: number of seeds; of stops there are 2 or more.
    pub seeds_len: usize,
    /// What `truncation` cuts around, a latent of latent_dim elements, such as the mean of a class; null: around 0. Default:
    /// null.
    pub truncation_mean: *const f32,
    /// Number of elements of that, latent_dim; 0 for null.
    pub truncation_mean_len: usize,
    /// KILN_LATENTS_TOUR_*: 1 if the tour goes from its last stop back to the first and round without end, 0 if it ends there,
    /// with frame (stops - 1) x walk_steps. Default: 0.
    pub tour_closed: u32,
    /// 0.
    pub reserved: u32,
}

/// Which ONNX Runtime is in use. The texts are in UTF-8 and belong to the library, for ever; none is null.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct KilnEngine {
    /// Bytes of this struct that were filled in.
    pub struct_size: usize,
    /// The library's file, or its bare name where the system's loader found it.
    pub path: *const c_char,
    /// Its version, such as "1.31.0".
    pub version: *const c_char,
    /// What it says of its build.
    pub build: *const c_char,
    /// The execution providers that it was built with, in ONNX Runtime's names, with commas between them.
    pub providers: *const c_char,
}

// SAFETY: `repr(C)`, the size comes first, integers and a pointer.
unsafe impl Versioned for KilnOptions {
    const NAME: &'static str = "KilnOptions";
    // The last field was one that had to be 0 before it had a name.
    const LEAST: usize = offset_of!(Self, time_limit_ms) + 4;
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        provider: KILN_PROVIDER_AUTO,
        start: KILN_START_STEADY,
        threads: 1,
        max_batch: 64,
        spinning: 0,
        time_limit_ms: 0,
        error_text: null_mut(),
        error_capacity: 0,
        self_test: KILN_BY_START,
        prepack: KILN_BY_START,
    };
}

// SAFETY: as above, with a float besides.
unsafe impl Versioned for KilnInfo {
    const NAME: &'static str = "KilnInfo";
    const LEAST: usize = offset_of!(Self, reserved) + 4;
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        image_len: 0,
        image_in_len: 0,
        images_seen: 0,
        image: KilnImageShape { channels: 0, height: 0, width: 0 },
        image_in: KilnImageShape { channels: 0, height: 0, width: 0 },
        latent_dim: 0,
        classes: 0,
        precision: 0,
        provider: 0,
        max_batch: 0,
        reserved: 0,
        buffer_bytes: 0,
        tolerance: 0.,
        has_class_names: 0,
    };
}

// SAFETY: as above, with raw pointers and a float besides, of which every pattern is a value.
unsafe impl Versioned for KilnRequest {
    const NAME: &'static str = "KilnRequest";
    const LEAST: usize = offset_of!(Self, image_len) + size_of::<usize>();
    const DEFAULT: Self = Self {
        struct_size: size_of::<Self>(),
        latents: KILN_LATENTS_SEED,
        walk_steps: 60,
        seed: 0,
        walk_first_index: 0,
        first: 0,
        given: null(),
        given_len: 0,
        truncation: 0.,
        classes: KILN_CLASSES_OWN,
        each_class: null(),
        each_class_len: 0,
        one_class: 0,
        images: KILN_IMAGES_NONE,
        image: null(),
        image_len: 0,
        seeds: null(),
        seeds_len: 0,
        truncation_mean: null(),
        truncation_mean_len: 0,
        tour_closed: 0,
        reserved: 0,
    };
}

// SAFETY: `repr(C)`, the size comes first, raw pointers.
unsafe impl Versioned for KilnEngine {
    const NAME: &'static str = "KilnEngine";
    const LEAST: usize = offset_of!(Self, providers) + size_of::<usize>();
    const DEFAULT: Self =
        Self { struct_size: size_of::<Self>(), path: null(), version: null(), build: null(), providers: null() };
}

/// Fills options with their defaults: kiln_options_default(&options, sizeof options).
///
/// Threads: any.
/// Errors: KILN_STATUS_ARGUMENT if `out` is null or misaligned or the size is impossible.
///
/// # Safety
/// `out` must be null or point to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_options_default(out: *mut KilnOptions, struct_size: usize) -> KilnStatus {
    // SAFETY: the caller's promise.
    guard(|| unsafe { write(out, struct_size, KilnOptions::DEFAULT) })
}

/// Fills a request with its defaults: kiln_request_default(&request, sizeof request).
///
/// Threads: any.
/// Errors: KILN_STATUS_ARGUMENT if `out` is null or misaligned or the size is impossible.
///
/// # Safety
/// `out` must be null or point to `struct_size` writable bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn kiln_request_default(out: *mut KilnRequest, struct_size: usize) -> KilnStatus {
    // SAFETY: the caller's promise.
    guard(|| unsafe { write(out, struct_size, KilnRequest::DEFAULT) })
}
