// Kiln: draws samples from a generator file, through ONNX Runtime.
//
// Made by cbindgen from the Rust module `runtime::capi`; not to be edited.
//
// Errors: every function that can fail returns a KilnStatus, KILN_STATUS_OK (0) if it did what it says; else the status
// says what a program can do about it, and kiln_error_text() what was wrong and what is allowed, in the same thread;
// kiln_generator_error(), kiln_stream_error() and kiln_pool_error() do so in any. Nothing is thrown, and no panic gets out.
// Handles: numbers that are looked up. A handle that is null, closed, of the other kind or garbage is
// KILN_STATUS_HANDLE. They may be copied; whoever closes one closes its copies.
// Threads: every function may be called from any thread, but only one call at a time uses a handle; another one comes
// back at once with KILN_STATUS_BUSY. To draw in several threads at once, give each a kiln_clone(), or all one KilnPool. The
// exceptions are pools, which any number of calls use at a time, and kiln_cancel() and kiln_stream_close(), which end the call
// that another thread is in.
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
// before draws if options.threads was 1 and options.time_limit_ms 0; else, or on a GPU, drawing is KILN_STATUS_FORKED:
// open one in the child. A stream gives the frames that were ready, then KILN_STATUS_FORKED. Closing them, or ending
// without, works in any case.
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

// The version of this header; kiln_version() tells that of the library that runs.
#define KILN_VERSION "0.1.0"
#define KILN_VERSION_MAJOR 0
#define KILN_VERSION_MINOR 1
#define KILN_VERSION_PATCH 0


// Most generators open at once in a process.
#define KILN_MAX_GENERATORS 256

// Most pools open at once in a process.
#define KILN_MAX_POOLS 64

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

// For a few samples, soon: neither, which makes every sample slower; KILN_PROVIDER_AUTO is then the CPU.
#define KILN_START_FAST 1

// With KILN_START_STEADY, not with KILN_START_FAST.
#define KILN_BY_START 0

// In any case.
#define KILN_YES 1

// Not at all.
#define KILN_NO 2

// Latents of a seed, from the index `first` on.
#define KILN_LATENTS_SEED 0

// Latents along a walk, from the frame `first` on.
#define KILN_LATENTS_WALK 1

// Latents of the caller's.
#define KILN_LATENTS_GIVEN 2

// Latents of several seeds: that of the index `first` of each.
#define KILN_LATENTS_SEEDS 3

// Latents along a walk through those of several seeds, of the index 0 of each; from the frame `first` on.
#define KILN_LATENTS_TOUR_SEEDS 4

// Latents along a walk through several of the caller's, from the frame `first` on.
#define KILN_LATENTS_TOUR_GIVEN 5

// The class of an image of a seed or of seeds is its index modulo the number of classes, that of every other image is 0.
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

// The name of the data that the generator has learned.
#define KILN_TEXT_DATA 0

// The SHA-256 of that, in hexadecimal digits.
#define KILN_TEXT_DATA_SHA256 1

// The recipe that it was trained with, as TOML.
#define KILN_TEXT_RECIPE 2

// The SHA-256 of that, in hexadecimal digits.
#define KILN_TEXT_RECIPE_SHA256 3

// Figures of its quality, free text, perhaps empty.
#define KILN_TEXT_QUALITY 4

// The program and version that wrote the file.
#define KILN_TEXT_TRAINER 5

// How near the images of an int8 file are to those in f32; empty for others.
#define KILN_TEXT_PARITY 6

// What is of use to those who look for a fault in ONNX Runtime.
#define KILN_SEVERITY_VERBOSE 0

// What ONNX Runtime does.
#define KILN_SEVERITY_INFO 1

// What may be otherwise than was meant.
#define KILN_SEVERITY_WARNING 2

// What fails: the call is an error, too.
#define KILN_SEVERITY_ERROR 3

// What ONNX Runtime cannot go on after.
#define KILN_SEVERITY_FATAL 4

// What a call came to. Later versions may add values: treat every value but KILN_STATUS_OK as an error, and one that is not
// known as KILN_STATUS_RUN.
enum KilnStatus
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It did what it says.
    KILN_STATUS_OK = 0,
    // An argument outside its range: an error of the program's.
    KILN_STATUS_ARGUMENT = 1,
    // ONNX Runtime was not found or cannot be used. Say where it is (kiln_load), or ship it beside the program.
    KILN_STATUS_ENGINE = 2,
    // The file has what this version does not run: an operator, a setting, a size, weights of another architecture. Another
    // copy has it, too: it must be exported in another way.
    KILN_STATUS_UNSUPPORTED = 3,
    // The provider that was asked for does not work here. Take KILN_PROVIDER_CPU or KILN_PROVIDER_AUTO.
    KILN_STATUS_PROVIDER = 4,
    // ONNX Runtime failed, or this library has a fault. Drawing again may help; opening the file again is the surer way.
    KILN_STATUS_RUN = 5,
    // The handle is null, closed, or none that this library gave out: an error of the program's.
    KILN_STATUS_HANDLE = 6,
    // The handle is in use by another thread; nothing was done. Give each thread a kiln_clone, or call later.
    KILN_STATUS_BUSY = 7,
    // An error in this library. The handle that was in use, if there was one, is closed.
    KILN_STATUS_PANIC = 8,
    // As many generators, streams or pools are open as can be. Close one.
    KILN_STATUS_FULL = 9,
    // There is no such file: the generator's, or that of the weights which it names. Ask for another path.
    KILN_STATUS_NOT_FOUND = 10,
    // The file may not be read by this user. Ask for rights, or for another path.
    KILN_STATUS_PERMISSION = 11,
    // The system failed to read the file. Trying again may help.
    KILN_STATUS_IO = 12,
    // It is no ONNX file, or where weights are wanted no safetensors file: a folder, an empty file, a web page that a download
    // got instead. Fetch the right one.
    KILN_STATUS_NOT_A_MODEL = 13,
    // It is an ONNX file that does not say that it is one of Kiln's: another tool has made it. No copy of it will do.
    KILN_STATUS_FOREIGN = 14,
    // The file was a generator once, and is cut off or changed. Fetch it again.
    KILN_STATUS_DAMAGED = 15,
    // The file is of a later format, or says that it needs what this version does not know. Tell the user to update.
    KILN_STATUS_NEWER_FORMAT = 16,
    // The generator does not draw the image that its file says it draws: the file is damaged, or ONNX Runtime computes wrongly
    // here. Fetch it again; then try another provider or library.
    KILN_STATUS_SELF_TEST = 17,
    // It would take more memory than is allowed. Lower options.max_batch.
    KILN_STATUS_MEMORY_LIMIT = 18,
    // The call took longer than options.time_limit_ms. Draw fewer images a call, or wait longer; the handle can be used again.
    KILN_STATUS_TIME_LIMIT = 19,
    // kiln_cancel has ended the call; the handle can be used again.
    KILN_STATUS_CANCELLED = 20,
    // The generator, stream or pool belongs to the process that this one was forked from. Open another here.
    KILN_STATUS_FORKED = 21,
    // The system has no further thread, or no memory of the kind that is needed. Trying again later may help.
    KILN_STATUS_RESOURCES = 22,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum KilnStatus KilnStatus;
#else
typedef int32_t KilnStatus;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// A generator. `{0}` is the null handle, that no function takes for one.
typedef struct KilnGenerator {
    // For the library alone; 0 is null.
    uint64_t id;
} KilnGenerator;

// A stream of frames. `{0}` is the null handle, that no function takes for one.
typedef struct KilnStream {
    // For the library alone; 0 is null.
    uint64_t id;
} KilnStream;

// Generators for many threads. `{0}` is the null handle, that no function takes for one.
typedef struct KilnPool {
    // For the library alone; 0 is null.
    uint64_t id;
} KilnPool;

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
    // ended with KILN_STATUS_TIME_LIMIT, after the layer at hand. Drawn ahead, it holds for each frame. On a GPU what is in
    // the device's queue already is waited for, and a warm-up is not ended. 0: as long as it takes. Default: 0.
    uint32_t time_limit_ms;
    // Where the text of an error of opening goes, or an empty one: memory of the caller's, used during the call alone, for
    // languages that may go on in another thread before they have called kiln_error_text. A longer text is cut between two
    // characters; it ends in NUL in any case. Default: null.
    char *error_text;
    // Bytes at `error_text`; 2000 are enough for nearly all texts. Default: 0.
    size_t error_capacity;
    // Whether the file's self-test is replayed when it is opened: KILN_BY_START, KILN_YES or KILN_NO; on a GPU it is in any
    // case. Default: KILN_BY_START.
    uint32_t self_test;
    // Whether weights are arranged for the processor when it is opened: KILN_BY_START, KILN_YES or KILN_NO. Without it
    // they are used as they lie in the file, which opens sooner, takes less memory, and makes every sample slower;
    // values may differ in their last bits. On a GPU it makes no difference. Default: KILN_BY_START.
    uint32_t prepack;
} KilnOptions;

// What to draw. Fill it with kiln_request_default, then change what should be otherwise.
typedef struct KilnRequest {
    // Bytes of this struct as the caller knows it; kiln_request_default sets it.
    size_t struct_size;
    // Where latents come from: one of KILN_LATENTS_*. Default: KILN_LATENTS_SEED.
    uint32_t latents;
    // KILN_LATENTS_WALK and KILN_LATENTS_TOUR_*: frames from one image to the next, 1 or more. Default: 60.
    uint32_t walk_steps;
    // KILN_LATENTS_SEED and KILN_LATENTS_WALK: the seed. Default: 0.
    uint64_t seed;
    // KILN_LATENTS_WALK: index of the image that the walk begins at. Default: 0.
    uint64_t walk_first_index;
    // The index of the seed, or frame of the walk or tour, to begin at; of several seeds, the index in each. Default: 0.
    uint64_t first;
    // KILN_LATENTS_GIVEN and KILN_LATENTS_TOUR_GIVEN: the latents, [n, latent_dim] or [stops, latent_dim], finite numbers of at
    // most 65504. Default: null.
    const float *given;
    // KILN_LATENTS_GIVEN and KILN_LATENTS_TOUR_GIVEN: number of elements, n or stops x latent_dim; of stops there are 2 or more.
    size_t given_len;
    // Where the normal distribution is cut off, in standard deviations; 0: nowhere. For seeds, and walks and tours of them.
    // Default: 0.
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
    // KILN_LATENTS_SEEDS: the seeds, one for each image; KILN_LATENTS_TOUR_SEEDS: those of the stops. Default: null.
    const uint64_t *seeds;
    // KILN_LATENTS_SEEDS and KILN_LATENTS_TOUR_SEEDS: number of seeds; of stops there are 2 or more.
    size_t seeds_len;
    // What `truncation` cuts around, a latent of latent_dim elements, such as the mean of a class; null: around 0. Default:
    // null.
    const float *truncation_mean;
    // Number of elements of that, latent_dim; 0 for null.
    size_t truncation_mean_len;
    // KILN_LATENTS_TOUR_*: 1 if the tour goes from its last stop back to the first and round without end, 0 if it ends there,
    // with frame (stops - 1) x walk_steps. Default: 0.
    uint32_t tour_closed;
    // 0.
    uint32_t reserved;
} KilnRequest;

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
    // Real images shown in training; 0 if that is not recorded.
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
    // Bytes of this handle's own buffers, which a clone or a member of a pool takes once more: those of max_batch inputs and
    // images. What ONNX Runtime works in comes on top, and the weights, which clones share.
    uint64_t buffer_bytes;
    // How far a value, nominally -1 to 1, may be from that of another machine.
    float tolerance;
    // 1 if classes have names, else 0.
    uint32_t has_class_names;
} KilnInfo;

// Which ONNX Runtime is in use. The texts are in UTF-8 and belong to the library, for ever; none is null.
typedef struct KilnEngine {
    // Bytes of this struct that were filled in.
    size_t struct_size;
    // The library's file, or its bare name where the system's loader found it.
    const char *path;
    // Its version, such as "1.31.0".
    const char *version;
    // What it says of its build.
    const char *build;
    // The execution providers that it was built with, in ONNX Runtime's names, with commas between them.
    const char *providers;
} KilnEngine;

// A function that is given a message of ONNX Runtime's log: `user` is what was given to kiln_log_to, `severity` one of
// KILN_SEVERITY_*, and `text` UTF-8 of one line or a few, which ends in NUL and is gone after the call.
typedef void (*KilnLog)(void *user, uint32_t severity, const char *text);

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// The text of the last error in this thread: what was wrong and what is allowed. Empty if there was none; never null. UTF-8
// of one line or a few, of bounded length, without control characters but line ends and tabs.
//
// Languages that may go on in another thread between two calls (Go, unless runtime.LockOSThread was called) take
// kiln_generator_error, kiln_stream_error and kiln_pool_error, and KilnOptions.error_text for opening.
//
// Threads: any; each has its own text.
// Lifetime: the text stays until the next call in this thread that fails, or until the thread ends. It belongs to the
// library.
const char *kiln_error_text(void);

// Copies the text of the last error of a call with this handle into `text`, whichever thread made that call: what
// kiln_error_text gives there. A text of `capacity` bytes or more is cut between two characters; it ends in NUL in any case,
// unless `capacity` is 0. `*length` is the length of the whole text in bytes, without the NUL, 0 if no call has failed; 2000
// bytes are enough for nearly all.
//
// Not noted are KILN_STATUS_HANDLE, KILN_STATUS_BUSY and KILN_STATUS_PANIC, after which there is no handle, another thread's
// call goes on, or the handle is closed: kiln_status_text says what there is to say.
//
// Threads: any, at any time: it is never KILN_STATUS_BUSY.
// Ownership: `text` stays the caller's, and is not used after the call.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE.
//
// # Safety
// `text` must be null, with a `capacity` of 0, or point to `capacity` writable bytes; `length` must be null or writable.
KilnStatus kiln_generator_error(struct KilnGenerator generator,
                                char *text,
                                size_t capacity,
                                size_t *length);

// The same for a stream.
//
// Threads: any, at any time: it is never KILN_STATUS_BUSY.
// Ownership: `text` stays the caller's, and is not used after the call.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE.
//
// # Safety
// As for kiln_generator_error.
KilnStatus kiln_stream_error(struct KilnStream stream, char *text, size_t capacity, size_t *length);

// The same for a pool: of the call that failed last, whoever made it.
//
// Threads: any, at any time.
// Ownership: `text` stays the caller's, and is not used after the call.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE.
//
// # Safety
// As for kiln_generator_error.
KilnStatus kiln_pool_error(struct KilnPool pool, char *text, size_t capacity, size_t *length);

// What a KilnStatus means, in a few words, such as "no such file"; never null. The text of an error says more.
//
// Threads: any.
// Lifetime: for ever.
const char *kiln_status_text(int32_t status);

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
// Errors: of the file KILN_STATUS_NOT_FOUND, KILN_STATUS_PERMISSION, KILN_STATUS_IO, KILN_STATUS_NOT_A_MODEL,
// KILN_STATUS_FOREIGN, KILN_STATUS_DAMAGED, KILN_STATUS_NEWER_FORMAT, KILN_STATUS_UNSUPPORTED, KILN_STATUS_SELF_TEST; of the
// machine KILN_STATUS_ENGINE, KILN_STATUS_PROVIDER, KILN_STATUS_RESOURCES; KILN_STATUS_ARGUMENT, KILN_STATUS_MEMORY_LIMIT,
// KILN_STATUS_TIME_LIMIT, KILN_STATUS_RUN; KILN_STATUS_FULL if KILN_MAX_GENERATORS are open. `*out` is then the null handle.
//
// # Safety
// `path` must be null or end in NUL (UTF-8 on Windows); `options` must be null or point to a struct of the size that it
// begins with, whose `error_text` is null or points to as many writable bytes as it says; `out` must be null or writable.
KilnStatus kiln_open(const char *path,
                     const struct KilnOptions *options,
                     struct KilnGenerator *out);

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

// Runs a batch of `batch` images a few times, 1 to max_batch, so that the first real call of that size is as quick as the
// others; with several threads, it also finds out in which way they draw such a batch sooner.
//
// Threads: any, but one call on a handle at a time.
// Errors: as kiln_sample.
KilnStatus kiln_warm_up(struct KilnGenerator generator,
                        size_t batch);

// Tells the kiln_sample, kiln_draw, kiln_draw_interleaved or kiln_warm_up that another thread has called on this handle to
// end, if there is one: it then comes back with KILN_STATUS_CANCELLED, after the layer at hand, unless it was about to
// succeed anyway. Of no effect on calls that begin later. On a GPU what is in the device's queue already is waited for,
// and a warm-up is not ended.
//
// Threads: any, at any time: it neither waits for the call nor is KILN_STATUS_BUSY.
// Errors: KILN_STATUS_HANDLE.
KilnStatus kiln_cancel(struct KilnGenerator generator);

// Puts the weights of the safetensors file at `path`, a generator of the same architecture, in place of this generator's.
// Clones, streams and pools keep the old ones.
//
// Threads: any, but one call on a handle at a time.
// Ownership: the path is no longer used after the call.
// Errors: those of a file as kiln_open; KILN_STATUS_ARGUMENT, KILN_STATUS_PROVIDER (the GPU has no room for both),
// KILN_STATUS_RESOURCES, KILN_STATUS_TIME_LIMIT, KILN_STATUS_RUN, KILN_STATUS_FORKED, KILN_STATUS_HANDLE, KILN_STATUS_BUSY;
// the old weights then stay.
//
// # Safety
// `path` must be null or end in NUL (UTF-8 on Windows).
KilnStatus kiln_swap_weights(struct KilnGenerator generator,
                             const char *path);

// Gives another handle on the same weights, with buffers of its own: for another thread.
//
// Threads: any, but one call on a handle at a time.
// Ownership: the caller closes the new handle with kiln_close, in any order with the old one.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_RESOURCES, KILN_STATUS_HANDLE, KILN_STATUS_BUSY, KILN_STATUS_FULL if
// KILN_MAX_GENERATORS are open. `*out` is then the null handle.
//
// # Safety
// `out` must be null or writable.
KilnStatus kiln_clone(struct KilnGenerator generator, struct KilnGenerator *out);

// Closes a generator. Its handle and copies of it are closed from then on: using one is KILN_STATUS_HANDLE.
//
// Threads: any; while another thread uses the handle, nothing is closed.
// Errors: KILN_STATUS_HANDLE, KILN_STATUS_BUSY.
KilnStatus kiln_close(struct KilnGenerator generator);

// Fills `out` with the images `first_index`, `first_index + 1`, ... of `seed`: [n, channels, height, width], 0 to 255.
// `len` is the number of bytes, n x image_len with n from 1 to max_batch. Each image is the same in whatever call it is
// drawn; on a GPU, but for the last bits in batches of another size. Allocates nothing on Rust's heap unless it fails.
//
// Threads: any, but one call on a handle at a time; clones draw at the same time.
// Ownership: `out` stays the caller's, and is not used after the call.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_TIME_LIMIT, KILN_STATUS_CANCELLED, KILN_STATUS_RUN, KILN_STATUS_FORKED,
// KILN_STATUS_HANDLE, KILN_STATUS_BUSY. After an error `out` may hold anything.
//
// # Safety
// `out` must be null or point to `len` writable bytes that no other thread touches during the call.
KilnStatus kiln_sample(struct KilnGenerator generator, uint64_t seed, uint64_t first_index, uint8_t *out, size_t len);

// Fills `out` with the images that `request` asks for: [n, channels, height, width], of the type that `element`, one of
// KILN_ELEMENT_*, says: uint8_t, uint16_t with the bits of a half, or float. `len` is the number of elements, n x
// image_len with n from 1 to max_batch. Allocates nothing on Rust's heap unless it fails.
//
// Threads: any, but one call on a handle at a time; clones draw at the same time.
// Ownership: `out`, the request and what it points to stay the caller's, and are not used after the call.
// Errors: KILN_STATUS_ARGUMENT, also where a request does not fit the generator, or `out` overlaps what the request points
// to; else as kiln_sample. After an error `out` may hold anything.
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

// Copies what the file says of itself, one of KILN_TEXT_*, into `text`. A text of `capacity` bytes or more is cut between two
// characters; it ends in NUL in any case, unless `capacity` is 0. `*length` is the length of the whole text in bytes, without
// the NUL: with null and 0 for `text` and `capacity` it tells how much memory to bring. Files may come from anybody, and the
// text is theirs, but for U+FFFD in the place of NUL: a terminal may obey what it holds.
//
// Threads: any, but one call on a handle at a time.
// Ownership: `text` stays the caller's, and is not used after the call.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY; `*length` is then as it was.
//
// # Safety
// `text` must be null, with a `capacity` of 0, or point to `capacity` writable bytes; `length` must be null or writable.
KilnStatus kiln_info_text(struct KilnGenerator generator,
                          uint32_t which,
                          char *text,
                          size_t capacity,
                          size_t *length);

// Copies the reason why KILN_PROVIDER_AUTO did not take CUDA into `text`, as kiln_info_text does; empty where it did, or was not
// asked to choose.
//
// Threads: any, but one call on a handle at a time.
// Ownership: `text` stays the caller's, and is not used after the call.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY; `*length` is then as it was.
//
// # Safety
// As for kiln_info_text.
KilnStatus kiln_why_cpu(struct KilnGenerator generator,
                        char *text,
                        size_t capacity,
                        size_t *length);

// Says which ONNX Runtime is in use: kiln_engine(&engine, sizeof engine). Loads it, if nothing has done so yet.
//
// Threads: any.
// Ownership: the texts belong to the library, and stay for ever.
// Errors: KILN_STATUS_ENGINE if there is none, KILN_STATUS_ARGUMENT; `*out` is then as it was.
//
// # Safety
// `out` must be null or point to `struct_size` writable bytes.
KilnStatus kiln_engine(struct KilnEngine *out, size_t struct_size);

// Fills `out`, one latent, with the standard normal numbers of (`seed`, `index`): the same bits on every machine, and what
// kiln_sample draws that image from. The first numbers do not depend on `len`.
//
// Threads: any.
// Ownership: `out` stays the caller's, and is not used after the call.
// Errors: KILN_STATUS_ARGUMENT; nothing is then written.
//
// # Safety
// `out` must be null or point to `len` writable elements that no other thread touches during the call.
KilnStatus kiln_fill_latent(uint64_t seed,
                            uint64_t index,
                            float *out,
                            size_t len);

// The same from the normal distribution cut off at `threshold` standard deviations, greater than 0, on both sides of `mean`, a
// latent of `len` elements, or of 0 where that is null: what KilnRequest.truncation and .truncation_mean ask for.
//
// Threads: any.
// Ownership: `mean` and `out` stay the caller's, and are not used after the call.
// Errors: KILN_STATUS_ARGUMENT, also where the two overlap; nothing is then written.
//
// # Safety
// `mean` must be null or point to `len` elements, `out` be null or point to `len` writable ones; no other thread writes to any
// of these during the call, or reads `out`.
KilnStatus kiln_fill_truncated(uint64_t seed,
                               uint64_t index,
                               float threshold,
                               const float *mean,
                               float *out,
                               size_t len);

// Spherical interpolation of two latents, from `a` (where `t` is 0) to `b` (1), into `out`, all of `len` elements: along the arc
// that normal latents lie near. Frames of walks and tours lie on it.
//
// Threads: any.
// Ownership: `a`, `b` and `out` stay the caller's, and are not used after the call.
// Errors: KILN_STATUS_ARGUMENT, also where `out` overlaps `a` or `b`; nothing is then written.
//
// # Safety
// `a` and `b` must be null or point to `len` elements, finite numbers of at most 65504, `out` be null or point to `len` writable
// ones; no other thread writes to any of these during the call, or reads `out`.
KilnStatus kiln_walk(const float *a,
                     const float *b,
                     double t,
                     float *out,
                     size_t len);

// Draws `count` images, 1 to max_batch, with the channels of a pixel side by side: [count, height, width, channels], as
// pictures and textures have them. `channels` is that of the generator, or 3 (RGB) or 4 (RGBA): grey becomes red, green
// and blue, and what has no opacity is opaque. `row_stride` and `image_stride` are the elements from the begin of a row or
// an image to that of the next one; 0 where they follow each other. What lies between rows is left as it is. `element` and
// `len`, all elements that `out` has, are as for kiln_draw. Allocates nothing on Rust's heap unless it fails.
//
// Threads: any, but one call on a handle at a time; clones draw at the same time.
// Ownership: `out`, the request and what it points to stay the caller's, and are not used after the call.
// Errors: KILN_STATUS_ARGUMENT, also where a request or a layout does not fit the generator, the images do not fit `len`,
// or `out` overlaps what the request points to; else as kiln_sample. After an error `out` is as it was.
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

// Gives what ONNX Runtime logs, from the severity `least` on, one of KILN_SEVERITY_*, to the function `log`, with `user` as its
// first argument, for the life of the process; without this, nobody gets it, and nothing is printed. To be called before
// anything loads ONNX Runtime: before the first kiln_open or kiln_load. Less than KILN_SEVERITY_WARNING makes opening slower.
//
// Threads: any; `log` is called by whichever thread is at work, several at once among them, and is waited for. It must not
// call this library, and throw nothing.
// Ownership: `user` stays the caller's, and is passed on until the process ends.
// Errors: KILN_STATUS_ARGUMENT, also if ONNX Runtime is loaded already, or another function was given.
//
// # Safety
// `log` must be null or a function that may be called like this by any thread until the process ends.
KilnStatus kiln_log_to(KilnLog log,
                       void *user,
                       uint32_t least);

// Starts a thread that draws the images of `request`, one by one and without end, at most `frames` ahead, 1 to 64. The
// request is one of a seed, a walk or a closed tour, and of one class at most; frame i is what kiln_draw draws of it with
// `first` i later.
//
// Threads: any, but one call on a handle at a time.
// Ownership: the stream draws with a clone of the generator, which stays usable and may be closed at any time. The request
// and what it points to are copied. The caller closes the stream with kiln_stream_close.
// Errors: KILN_STATUS_RESOURCES, KILN_STATUS_FULL if KILN_MAX_STREAMS are open; else as kiln_sample. `*out` is then the null
// handle.
//
// # Safety
// `request` must be null or point to a struct of the size that it begins with, whose pointers, as far as its choices use
// them, are null or point to as many elements as the lengths beside them say; `out` must be null or writable.
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
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY, none of which loses a frame; those of
// kiln_sample when the stream has ended by one, after the last frame before it. `*ready` is then false.
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
// Threads: any, but one call on a handle at a time; while it waits, every other call on the stream is KILN_STATUS_BUSY, but
// kiln_stream_close, with which this one comes back with KILN_STATUS_HANDLE.
// Ownership: `out` stays the caller's, and is not used after the call.
// Errors: as kiln_stream_try_next.
//
// # Safety
// `out` must be null or point to `len` writable bytes that no other thread touches during the call.
KilnStatus kiln_stream_next(struct KilnStream stream,
                            uint8_t *out,
                            size_t len);

// As kiln_stream_try_next, but waits up to `wait_ms` milliseconds for a frame that is not ready yet.
//
// Threads: as for kiln_stream_next.
// Ownership: `out` stays the caller's, and is not used after the call.
// Errors: as kiln_stream_try_next.
//
// # Safety
// As for kiln_stream_try_next.
KilnStatus kiln_stream_next_timeout(struct KilnStream stream, uint8_t *out, size_t len, uint32_t wait_ms, bool *ready);

// Says in `*out` how often kiln_stream_try_next or kiln_stream_next_timeout had no frame to give.
//
// Threads: any, but one call on a handle at a time.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_HANDLE, KILN_STATUS_BUSY; `*out` is then as it was.
//
// # Safety
// `out` must be null or writable.
KilnStatus kiln_stream_missed(struct KilnStream stream, uint64_t *out);

// Closes a stream, and ends its thread after the layer at hand. Its handle and copies of it are closed from then on: using one
// is KILN_STATUS_HANDLE.
//
// Threads: any, also while another thread waits in kiln_stream_next or kiln_stream_next_timeout: that call comes back with
// KILN_STATUS_HANDLE.
// Errors: KILN_STATUS_HANDLE.
KilnStatus kiln_stream_close(struct KilnStream stream);

// Makes a pool of `size` clones of a generator, 1 to 64, for as many threads as like to draw at once: as many are served as
// there are clones, the others wait. Which one serves makes no difference.
//
// Threads: any, but one call on the generator's handle at a time.
// Ownership: the pool draws with clones of the generator, which stays usable and may be closed at any time. The caller closes
// the pool with kiln_pool_close.
// Errors: KILN_STATUS_ARGUMENT, KILN_STATUS_RESOURCES, KILN_STATUS_RUN, KILN_STATUS_HANDLE, KILN_STATUS_BUSY, KILN_STATUS_FULL
// if KILN_MAX_POOLS are open. `*out` is then the null handle.
//
// # Safety
// `out` must be null or writable.
KilnStatus kiln_pool_open(struct KilnGenerator generator,
                          size_t size,
                          struct KilnPool *out);

// As kiln_sample, by a generator of the pool; waits while all are in use.
//
// Threads: any, any number at a time.
// Ownership: `out` stays the caller's, and is not used after the call.
// Errors: as kiln_sample, but it is never KILN_STATUS_BUSY or KILN_STATUS_CANCELLED.
//
// # Safety
// As for kiln_sample.
KilnStatus kiln_pool_sample(struct KilnPool pool, uint64_t seed, uint64_t first_index, uint8_t *out, size_t len);

// As kiln_draw, by a generator of the pool; waits while all are in use.
//
// Threads: any, any number at a time.
// Ownership: `out`, the request and what it points to stay the caller's, and are not used after the call.
// Errors: as kiln_draw, but it is never KILN_STATUS_BUSY or KILN_STATUS_CANCELLED.
//
// # Safety
// As for kiln_draw.
KilnStatus kiln_pool_draw(struct KilnPool pool,
                          const struct KilnRequest *request,
                          uint32_t element,
                          void *out,
                          size_t len);

// As kiln_pool_draw, but waits no longer than `wait_ms` milliseconds for a generator, not at all if that is 0, and says in
// `*drawn` whether it had one in time. How long drawing itself may take is KilnOptions.time_limit_ms.
//
// Threads: any, any number at a time.
// Ownership: `out`, the request and what it points to stay the caller's, and are not used after the call.
// Errors: as kiln_pool_draw; `*drawn` is then false.
//
// # Safety
// As for kiln_draw; `drawn` must be null or writable, and not lie in `out`.
KilnStatus kiln_pool_draw_timeout(struct KilnPool pool,
                                  const struct KilnRequest *request,
                                  uint32_t element,
                                  void *out,
                                  size_t len,
                                  uint32_t wait_ms,
                                  bool *drawn);

// As kiln_warm_up, for every generator of the pool once, one after the other; best before the first caller comes. Others draw
// meanwhile: it waits for those that are in use.
//
// Threads: any, any number at a time.
// Errors: as kiln_pool_sample.
KilnStatus kiln_pool_warm_up(struct KilnPool pool,
                             size_t batch);

// Closes a pool. Its handle and copies of it are closed from then on: using one is KILN_STATUS_HANDLE. Calls that have begun
// come to their end, also those that wait, and the last one of them frees the memory.
//
// Threads: any, at any time.
// Errors: KILN_STATUS_HANDLE.
KilnStatus kiln_pool_close(struct KilnPool pool);

// The version of the library that runs, such as "0.1.0"; that of the header is KILN_VERSION.
//
// Threads: any.
// Lifetime: for ever.
const char *kiln_version(void);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* KILN_H */
