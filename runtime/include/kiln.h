// Kiln: draws samples from a generator file, through ONNX Runtime.
//
// Made by cbindgen from the Rust module `runtime::capi`; not to be edited.
//
// Errors: every function that can fail returns a KilnStatus, KILN_STATUS_OK (0) if it did what it says;
// kiln_error_text() then tells what was wrong and what is allowed. Nothing is thrown, and no panic gets out.
// Handles: numbers that are looked up. A handle that is null, closed, of the other kind or garbage is
// KILN_STATUS_HANDLE. They may be copied; whoever closes one closes its copies.
// Threads: every function may be called from any thread, but only one call at a time uses a handle; another one comes
// back at once with KILN_STATUS_BUSY. To draw in several threads at once, give each a kiln_clone(). The exception is
// kiln_cancel(), which ends the call that another thread is in.
// Memory: what is passed in stays the caller's and is copied, or used during the call alone. Images are written to
// memory of the caller's. A null or misaligned pointer and a wrong length are KILN_STATUS_ARGUMENT.
// Images: for one file, one machine, one build of ONNX Runtime and one kind of start, a seed and an index give the same
// bytes, in any batch, in any order, with any number of threads; else the same within the tolerance of the file's
// self-test. Files may come from anybody: what is wrong with one is an error.
// Versions: structs begin with their size, so that later versions can add fields at the end; a program that was
// compiled with an older header stays right. Fields called `reserved` are 0.
// Environment: before the first call that opens a generator loads ONNX Runtime, it sets ORT_DISABLE_TELEMETRY=1, by which
// nothing is written about the user or sent. Where another thread may be in getenv() meanwhile, set it before that thread
// begins; then nothing is set.
// Fork: call fork() while no other thread is in a function of this library. In the child, a generator that was opened
// before draws if options.threads was 1; with more, or on a GPU, drawing is KILN_STATUS_RUN: open one in the child. A
// stream gives the frames that were ready, then KILN_STATUS_RUN. Closing them, or ending without, works in any case.
//
//     KilnGenerator generator;
//     KilnInfo info;
//     if (kiln_open("gen.onnx", NULL, &generator) != KILN_STATUS_OK ||
//         kiln_info(generator, &info, sizeof info) != KILN_STATUS_OK) {
//         fprintf(stderr, "%s\n", kiln_error_text());
//         return 1;
//     }
//     uint8_t *image = malloc(info.image_len);
//     kiln_sample(generator, 7, 0, image, info.image_len);
//     kiln_close(generator);


#ifndef KILN_H
#define KILN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Most generators open at once in a process.
#define KILN_MAX_GENERATORS 256

// Most streams open at once in a process; each has a thread.
#define KILN_MAX_STREAMS 64

// Elements of 8 bits, 0 to 255: uint8_t.
#define KILN_ELEMENT_U8 0

// IEEE half precision, nominally -1 to 1: its bits as uint16_t.
#define KILN_ELEMENT_F16 1

// IEEE single precision, nominally -1 to 1: float.
#define KILN_ELEMENT_F32 2

// CUDA where it works, else the CPU, as for KILN_START_FAST; kiln_info says which.
#define KILN_PROVIDER_AUTO 0

// The CPU.
#define KILN_PROVIDER_CPU 1

// An NVIDIA GPU; an error where it does not work.
#define KILN_PROVIDER_CUDA 2

// For many samples: weights are arranged for the processor once, and the file's self-test is replayed.
#define KILN_START_STEADY 0

// For a few samples, soon: every sample is slower, and the self-test is left out.
#define KILN_START_FAST 1

// Latents of a seed, from the index `first` on.
#define KILN_LATENTS_SEED 0

// Latents along a walk, from the frame `first` on.
#define KILN_LATENTS_WALK 1

// Latents of the caller's.
#define KILN_LATENTS_GIVEN 2

// The class of an image of a seed is its index modulo the number of classes, that of every other image is 0.
#define KILN_CLASSES_OWN 0

// One class for all images.
#define KILN_CLASSES_ONE 1

// A class for each image.
#define KILN_CLASSES_EACH 2

// No image goes in.
#define KILN_IMAGES_NONE 0

// Images of float go in, nominally -1 to 1.
#define KILN_IMAGES_F32 1

// Images of uint8_t go in, 0 to 255.
#define KILN_IMAGES_U8 2

// What a call came to. Later versions may add values: treat every value but KILN_STATUS_OK as an error.
enum KilnStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It did what it says.
    KILN_STATUS_OK = 0,
    // An argument outside its range.
    KILN_STATUS_ARGUMENT = 1,
    // ONNX Runtime was not found or could not be loaded.
    KILN_STATUS_ENGINE = 2,
    // The file is not a generator that this library can run.
    KILN_STATUS_MODEL = 3,
    // The provider that was asked for does not work here.
    KILN_STATUS_PROVIDER = 4,
    // ONNX Runtime failed while running a model that it had loaded.
    KILN_STATUS_RUN = 5,
    // The handle is null, closed, or none that this library gave out.
    KILN_STATUS_HANDLE = 6,
    // The handle is in use by another thread; nothing was done.
    KILN_STATUS_BUSY = 7,
    // An error in this library. The handle that was in use, if there was one, is closed.
    KILN_STATUS_PANIC = 8,
    // As many generators or streams are open as can be.
    KILN_STATUS_FULL = 9,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum KilnStatus KilnStatus;
#else
typedef int32_t KilnStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How a generator is opened. Fill it with kiln_options_default, then change what should be otherwise.
typedef struct KilnOptions {
    // Bytes of this struct as the caller knows it; kiln_options_default sets it.
    size_t struct_size;
    // Where it runs: one of KILN_PROVIDER_*. Default: KILN_PROVIDER_AUTO.
    uint32_t provider;
    // What opening is good for: one of KILN_START_*. Default: KILN_START_STEADY.
    uint32_t start;
    // Threads of one call on the CPU, 1 to 1024, of this handle alone: a batch is divided among them, one image is drawn by
    // all. Default: 1.
    uint32_t threads;
    // Most images a call, 1 to 4096; sizes the buffers. Default: 64.
    uint32_t max_batch;
    // 1: threads spin between calls while they wait, which saves microseconds a call and burns a core for a while; of no
    // effect with one thread. 0: they do not. Default: 0.
    uint32_t spinning;
    // Milliseconds that a call which draws or warms up may take, and the self-test at opening: one that takes longer is
    // ended with KILN_STATUS_RUN, after the layer at hand. Drawn ahead, it holds for each frame. On a GPU what is in the
    // device's queue already is waited for, and a warm-up is not ended. 0: as long as it takes. Default: 0.
    uint32_t time_limit_ms;
} KilnOptions;

// What to draw. Fill it with kiln_request_default, then change what should be otherwise.
typedef struct KilnRequest {
    // Bytes of this struct as the caller knows it; kiln_request_default sets it.
    size_t struct_size;
    // Where latents come from: one of KILN_LATENTS_*. Default: KILN_LATENTS_SEED.
    uint32_t latents;
    // KILN_LATENTS_WALK: frames from one image of the seed to the next, 1 or more. Default: 60.
    uint32_t walk_steps;
    // KILN_LATENTS_SEED and KILN_LATENTS_WALK: the seed. Default: 0.
    uint64_t seed;
    // KILN_LATENTS_WALK: index of the image that the walk begins at. Default: 0.
    uint64_t walk_first_index;
    // The index of the seed, or frame of the walk, to begin at. Default: 0.
    uint64_t first;
    // KILN_LATENTS_GIVEN: the latents, [n, latent_dim], finite numbers of at most 65504. Default: null.
    const float *given;
    // KILN_LATENTS_GIVEN: number of elements, n x latent_dim.
    size_t given_len;
    // Where the normal distribution is cut off, in standard deviations; 0: nowhere. For seeds and walks. Default: 0.
    float truncation;
    // Of which classes images are, for conditional generators: one of KILN_CLASSES_*. Default: KILN_CLASSES_OWN.
    uint32_t classes;
    // KILN_CLASSES_EACH: the classes, one for each image. Default: null.
    const uint32_t *each_class;
    // KILN_CLASSES_EACH: number of classes, n.
    size_t each_class_len;
    // KILN_CLASSES_ONE: the class; kiln_class_named finds it by its name.
    uint32_t one_class;
    // What images go in, for image-to-image generators: one of KILN_IMAGES_*. Default: KILN_IMAGES_NONE.
    uint32_t images;
    // KILN_IMAGES_F32: one image or n of them, [C, h, w] or [n, C, h, w], as float; KILN_IMAGES_U8: as uint8_t. Default:
    // null.
    const void *image;
    // KILN_IMAGES_F32 and KILN_IMAGES_U8: number of elements.
    size_t image_len;
} KilnRequest;

// A generator. `{0}` is the null handle, that no function takes for one.
typedef struct KilnGenerator {
    // For the library alone; 0 is null.
    uint64_t id;
} KilnGenerator;

// The shape of one image.
typedef struct KilnImageShape {
    // 1 for grey, 2 for grey and opacity (alpha), 3 for red, green, blue, 4 for these and opacity. Opacity is straight: the
    // colours are not multiplied by it.
    uint32_t channels;
    // Rows.
    uint32_t height;
    // Columns.
    uint32_t width;
} KilnImageShape;

// What a generator is.
typedef struct KilnInfo {
    // Bytes of this struct that were filled in.
    size_t struct_size;
    // Elements of one image: channels x height x width.
    size_t image_len;
    // Elements of one image that goes in; 0 for generators that take none.
    size_t image_in_len;
    // Real images shown in training.
    uint64_t images_seen;
    // Shape of an image.
    struct KilnImageShape image;
    // Shape of the image that goes in; zeros for generators that take none.
    struct KilnImageShape image_in;
    // Elements of a latent.
    uint32_t latent_dim;
    // Number of classes; 0 when unconditional. kiln_class_name tells their names.
    uint32_t classes;
    // What the generator computes in: KILN_ELEMENT_F16, KILN_ELEMENT_F32, or KILN_ELEMENT_U8 where most of it is quantised
    // (int8). Images come in whatever type is asked for.
    uint32_t precision;
    // Where it really runs: KILN_PROVIDER_CPU or KILN_PROVIDER_CUDA.
    uint32_t provider;
    // Most images a call.
    uint32_t max_batch;
    // 0.
    uint32_t reserved;
} KilnInfo;

// A stream of frames. `{0}` is the null handle, that no function takes for one.
typedef struct KilnStream {
    // For the library alone; 0 is null.
    uint64_t id;
} KilnStream;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The text of the last error in this thread: what was wrong and what is allowed. Empty if there was none; never null. UTF-8
// of one line or a few, of bounded length, without control characters but line ends and tabs.
//
// Threads: any; each has its own text.
// Lifetime: the text stays until the next call in this thread that fails, or until the thread ends. It belongs to the
// library.
const char *kiln_error_text(void);

// The library's version, such as "0.1.0".
//
// Threads: any.
// Lifetime: for ever.
const char *kiln_version(void);

// Fills options with their defaults: kiln_options_default(&options, sizeof options).
//
// Threads: any.
// Errors: KILN_STATUS_ARGUMENT if `out` is null or misaligned or the size is impossible.
//
// # Safety
// `out` must be null or point to `struct_size` writable bytes.
KilnStatus kiln_options_default(struct KilnOptions *out, size_t struct_size);

// Fills a request with its defaults: kiln_request_default(&request, sizeof request).
//
// Threads: any.
// Errors: KILN_STATUS_ARGUMENT if `out` is null or misaligned or the size is impossible.
//
// # Safety
// `out` must be null or point to `struct_size` writable bytes.
KilnStatus kiln_request_default(struct KilnRequest *out, size_t struct_size);

// Loads ONNX Runtime from the library at `path`, wherever others lie, for a program that brings one along and knows where.
// To be called before any kiln_open: a process has one ONNX Runtime. What is loaded already is loaded once.
//
// Threads: any.
// Ownership: the path is no longer used after the call.
// Errors: KILN_STATUS_ENGINE if it is no library to use, KILN_STATUS_ARGUMENT also if another one is loaded.
//
// # Safety
// `path` must be null or end in NUL (UTF-8 on Windows).
KilnStatus kiln_load(const char *path);

// Opens the generator file at `path` and gives its handle. The first call in a process loads ONNX Runtime.
//
// Of `options`, null means the defaults.
//
// Threads: any.
// Ownership: the caller closes the handle with kiln_close. Path and options are no longer used after the call. The file
// stays mapped into memory until the generator and its clones are closed: replace it by renaming another over it.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_ENGINE, KILN_STATUS_MODEL, KILN_STATUS_PROVIDER, KILN_STATUS_RUN,
// KILN_STATUS_FULL if KILN_MAX_GENERATORS are open. `*out` is then the null handle.
//
// # Safety
// `path` must be null or end in NUL (UTF-8 on Windows); `options` must be null or point to a struct of the size that it
// begins with; `out` must be null or writable.
KilnStatus kiln_open(const char *path, const struct KilnOptions *options, struct KilnGenerator *out);

// Opens a generator that is in memory: the `model_len` bytes of its file at `model` and, where the file names another one
// as the place of its weights, the `weights_len` bytes of that one at `weights`, else null and 0. Messages say "in memory"
// for the file. Otherwise as kiln_open.
//
// Threads: any.
// Ownership: the caller closes the handle with kiln_close. Nothing that was given is used after the call: the bytes are
// copied.
// Errors: as kiln_open.
//
// # Safety
// `model` and `weights` must be null or point to as many bytes as said; `options` and `out` as for kiln_open.
KilnStatus kiln_open_memory(const uint8_t *model,
                            size_t model_len,
                            const uint8_t *weights,
                            size_t weights_len,
                            const struct KilnOptions *options,
                            struct KilnGenerator *out);

// Says what a generator is: kiln_info(generator, &info, sizeof info).
//
// Threads: any, but one call on a handle at a time.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY; `*out` is then as it was.
//
// # Safety
// `out` must be null or point to `struct_size` writable bytes.
KilnStatus kiln_info(struct KilnGenerator generator, struct KilnInfo *out, size_t struct_size);

// Gives the name of a class, 0 to KilnInfo.classes - 1, in UTF-8; empty where classes have no names. It is what the file
// says, at most 100 characters and none of them a control character; files may come from anybody.
//
// Threads: any, but one call on a handle at a time.
// Ownership: the name belongs to the library. It stays until the next kiln_class_name in this thread, or until the thread
// ends, whatever becomes of the generator: copy it where it is to stay longer.
// Errors: KILN_STATUS_ARGUMENT, also where there is no such class; KILN_STATUS_HANDLE, KILN_STATUS_BUSY. `*out` is then an
// empty text.
//
// # Safety
// `out` must be null or writable.
KilnStatus kiln_class_name(struct KilnGenerator generator,
                           uint32_t one_class,
                           const char **out);

// Says in `*out` which class `name` means: the one of exactly this name; else the one of this name in other letters, upper
// or lower case; else the one of this number, in decimal digits.
//
// Threads: any, but one call on a handle at a time.
// Ownership: the name is no longer used after the call.
// Errors: KILN_STATUS_ARGUMENT, also where there is no such class or several, of which kiln_error_text then lists some;
// KILN_STATUS_HANDLE, KILN_STATUS_BUSY. `*out` is then as it was.
//
// # Safety
// `name` must be null or end in NUL; `out` must be null or writable.
KilnStatus kiln_class_named(struct KilnGenerator generator,
                            const char *name,
                            uint32_t *out);

// Fills `out` with the images `first_index`, `first_index + 1`, ... of `seed`: [n, channels, height, width], 0 to 255.
// `len` is the number of bytes, n x image_len with n from 1 to max_batch. Each image is the same in whatever call it is
// drawn; on a GPU, but for the last bits in batches of another size. Allocates nothing on Rust's heap unless it fails.
//
// Threads: any, but one call on a handle at a time; clones draw at the same time.
// Ownership: `out` stays the caller's, and is not used after the call.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_RUN, KILN_STATUS_HANDLE, KILN_STATUS_BUSY. After KILN_STATUS_RUN `out` may hold
// anything.
//
// # Safety
// `out` must be null or point to `len` writable bytes that no other thread touches during the call.
KilnStatus kiln_sample(struct KilnGenerator generator,
                       uint64_t seed,
                       uint64_t first_index,
                       uint8_t *out,
                       size_t len);

// Fills `out` with the images that `request` asks for: [n, channels, height, width], of the type that `element`, one of
// KILN_ELEMENT_*, says: uint8_t, uint16_t with the bits of a half, or float. `len` is the number of elements, n x
// image_len with n from 1 to max_batch. Allocates nothing on Rust's heap unless it fails.
//
// Threads: any, but one call on a handle at a time; clones draw at the same time.
// Ownership: `out`, the request and what it points to stay the caller's, and are not used after the call.
// Errors: KILN_STATUS_ARGUMENT, also where a request does not fit the generator, or `out` overlaps what the request points
// to; KILN_STATUS_RUN, KILN_STATUS_HANDLE, KILN_STATUS_BUSY. After an error `out` may hold anything.
//
// # Safety
// `request` must be null or point to a struct of the size that it begins with, whose pointers, as far as its choices use
// them, are null or point to as many elements as the lengths beside them say; `out` must be null or point to `len` writable
// elements. No other thread writes to any of these during the call, or reads `out`.
KilnStatus kiln_draw(struct KilnGenerator generator,
                     const struct KilnRequest *request,
                     uint32_t element,
                     void *out,
                     size_t len);

// Runs a batch of `batch` images a few times, 1 to max_batch, so that the first real call of that size is as quick as the
// others; with several threads, it also finds out in which way they draw such a batch sooner.
//
// Threads: any, but one call on a handle at a time.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_RUN, KILN_STATUS_HANDLE, KILN_STATUS_BUSY.
KilnStatus kiln_warm_up(struct KilnGenerator generator,
                        size_t batch);

// Tells the kiln_sample, kiln_draw, kiln_draw_interleaved or kiln_warm_up that another thread has called on this handle to end, if there is one:
// it then comes back with KILN_STATUS_RUN, after the layer at hand, unless it was about to succeed anyway. Of no effect on
// calls that begin later. On a GPU what is in the device's queue already is waited for, and a warm-up is not ended.
//
// Threads: any, at any time: it neither waits for the call nor is KILN_STATUS_BUSY.
// Errors: KILN_STATUS_HANDLE.
KilnStatus kiln_cancel(struct KilnGenerator generator);

// Puts the weights of the safetensors file at `path`, a generator of the same architecture, in place of this generator's.
// Clones and streams keep the old ones.
//
// Threads: any, but one call on a handle at a time.
// Ownership: the path is no longer used after the call.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_MODEL, KILN_STATUS_RUN, KILN_STATUS_HANDLE, KILN_STATUS_BUSY; the old weights
// then stay.
//
// # Safety
// `path` must be null or end in NUL (UTF-8 on Windows).
KilnStatus kiln_swap_weights(struct KilnGenerator generator,
                             const char *path);

// Gives another handle on the same weights, with buffers of its own: for another thread.
//
// Threads: any, but one call on a handle at a time.
// Ownership: the caller closes the new handle with kiln_close, in any order with the old one.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY, KILN_STATUS_FULL if KILN_MAX_GENERATORS are open.
// `*out` is then the null handle.
//
// # Safety
// `out` must be null or writable.
KilnStatus kiln_clone(struct KilnGenerator generator, struct KilnGenerator *out);

// Closes a generator. Its handle and copies of it are closed from then on: using one is KILN_STATUS_HANDLE.
//
// Threads: any; while another thread uses the handle, nothing is closed.
// Errors: KILN_STATUS_HANDLE, KILN_STATUS_BUSY.
KilnStatus kiln_close(struct KilnGenerator generator);

// Draws `count` images, 1 to max_batch, with the channels of a pixel side by side: [count, height, width, channels], as
// pictures and textures have them. `channels` is that of the generator, or 3 (RGB) or 4 (RGBA): grey becomes red, green
// and blue, and what has no opacity is opaque. `row_stride` and `image_stride` are the elements from the begin of a row or
// an image to that of the next one; 0 where they follow each other. What lies between rows is left as it is. `element` and
// `len`, all elements that `out` has, are as for kiln_draw. Allocates nothing on Rust's heap unless it fails.
//
// Threads: any, but one call on a handle at a time; clones draw at the same time.
// Ownership: `out`, the request and what it points to stay the caller's, and are not used after the call.
// Errors: KILN_STATUS_ARGUMENT, also where a request or a layout does not fit the generator, the images do not fit `len`,
// or `out` overlaps what the request points to; KILN_STATUS_RUN, KILN_STATUS_HANDLE, KILN_STATUS_BUSY. After an error
// `out` is as it was.
//
// # Safety
// `request` must be null or point to a struct of the size that it begins with, whose pointers, as far as its choices use
// them, are null or point to as many elements as the lengths beside them say; `out` must be null or point to `len` writable
// elements. No other thread writes to any of these during the call, or reads `out`.
KilnStatus kiln_draw_interleaved(struct KilnGenerator generator,
                                 const struct KilnRequest *request,
                                 size_t count,
                                 size_t channels,
                                 size_t row_stride,
                                 size_t image_stride,
                                 uint32_t element,
                                 void *out,
                                 size_t len);

// Starts a thread that draws the images of `request`, one by one and without end, at most `frames` ahead, 1 to 64. The
// request is one of a seed or a walk, and of one class at most; frame i is what kiln_draw draws of it with `first` i later.
//
// Threads: any, but one call on a handle at a time.
// Ownership: the stream draws with a clone of the generator, which stays usable and may be closed at any time. The request
// and the image that it points to are copied. The caller closes the stream with kiln_stream_close.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_RUN, KILN_STATUS_HANDLE, KILN_STATUS_BUSY, KILN_STATUS_FULL if KILN_MAX_STREAMS
// are open. `*out` is then the null handle.
//
// # Safety
// `request` must be null or point to a struct of the size that it begins with, whose image, if its choices use one, is null
// or points to as many elements as the length beside it says; `out` must be null or writable.
KilnStatus kiln_stream_open(struct KilnGenerator generator,
                            const struct KilnRequest *request,
                            size_t frames,
                            struct KilnStream *out);

// Copies the next frame into `out`, [channels, height, width], 0 to 255, if one is ready, and says so in `*ready`. Never
// waits for a frame; allocates nothing on Rust's heap unless it fails. A frame that is not ready is not skipped: it comes
// later. `len` is image_len.
//
// Threads: any, but one call on a handle at a time.
// Ownership: `out` stays the caller's, and is not used after the call.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY, none of which loses a frame; KILN_STATUS_RUN when the
// stream has ended by a failure, after the last frame before it. `*ready` is then false.
//
// # Safety
// `out` must be null or point to `len` writable bytes that no other thread touches during the call; `ready` must be null or
// writable, and not lie in `out`.
KilnStatus kiln_stream_try_next(struct KilnStream stream,
                                uint8_t *out,
                                size_t len,
                                bool *ready);

// Copies the next frame into `out`, [channels, height, width], 0 to 255; waits until it is ready. `len` is image_len.
//
// Threads: any, but one call on a handle at a time; while it waits, every other call on the stream is KILN_STATUS_BUSY.
// Ownership: `out` stays the caller's, and is not used after the call.
// Errors: as kiln_stream_try_next.
//
// # Safety
// `out` must be null or point to `len` writable bytes that no other thread touches during the call.
KilnStatus kiln_stream_next(struct KilnStream stream, uint8_t *out, size_t len);

// Says in `*out` how often kiln_stream_try_next found no frame ready.
//
// Threads: any, but one call on a handle at a time.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY; `*out` is then as it was.
//
// # Safety
// `out` must be null or writable.
KilnStatus kiln_stream_missed(struct KilnStream stream, uint64_t *out);

// Ends a stream's thread, waiting for the frame at hand, and closes the stream. Its handle and copies of it are closed from
// then on: using one is KILN_STATUS_HANDLE.
//
// Threads: any; while another thread uses the handle, nothing is closed.
// Errors: KILN_STATUS_HANDLE, KILN_STATUS_BUSY.
KilnStatus kiln_stream_close(struct KilnStream stream);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KILN_H */
