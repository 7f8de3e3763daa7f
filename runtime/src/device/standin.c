// Stands in for the CUDA runtime in tests: memory is the host's, work is done at once unless it is recorded, calls are
// counted and can be made to fail.
#include <stdlib.h>
#include <string.h>

int live_device, live_pinned, live_streams, live_graphs, copies, replays, waits, cleared, devices = 1;
// The device of the thread that calls; that of everything here is 0.
int current;
// After so many waits, copies from the device are wrong in their last byte.
int spoiled_after = 1 << 30;
// The function whose calls fail, by name, and with which code.
const char *failing = "";
int failure = 2;

// The type of all nodes of a graph.
int node_type;

// Work of ONNX Runtime.
typedef void *(*Run)(void *session, const void *options, void *binding);
struct Graph {
    int count;
    struct { Run run; void *session; const void *options; void *binding; } work[4];
};
// What is recorded at present.
static struct Graph *recording;

// CUDA keeps an error until it is asked for it, and ONNX Runtime takes one that is left for its own.
static int last;
int stale;
static int fails(int code) { return last = code; }
#define CALL() if (!strcmp(failing, __func__)) return fails(failure)

// Whether runs fail while they are recorded: the recording is then spoiled.
int run_fails;
// A GPU does it later, and does not do it while it is recorded.
void *kiln_run(Run run, void *session, const void *options, void *binding) {
    if (last || current) stale++;
    if (!recording) return run(session, options, binding);
    if (run_fails) return recording->count = -1, fails(900), (void *)1;
    recording->work[recording->count].run = run, recording->work[recording->count].session = session;
    recording->work[recording->count].options = options, recording->work[recording->count].binding = binding;
    recording->count++;
    return NULL;
}

const char *cudaGetErrorString(int code) {
    return code == 2 ? "out of memory" : code == 35 ? "CUDA driver version is insufficient for CUDA runtime version" : NULL;
}
int cudaGetLastError(void) {
    int code = last;
    last = 0, cleared++;
    return code;
}
int cudaGetDevice(int *device) { CALL(); *device = current; return 0; }
int cudaSetDevice(int device) { CALL(); current = device; return 0; }
int cudaGetDeviceCount(int *count) { CALL(); *count = devices; return 0; }
int cudaStreamCreateWithFlags(void **stream, unsigned flags) {
    CALL();
    if (flags != 1) return 1;
    *stream = malloc(1), live_streams++;
    return 0;
}
int cudaStreamDestroy(void *stream) { free(stream), live_streams--; return 0; }
// 900 is cudaErrorStreamCaptureUnsupported.
int cudaStreamSynchronize(void *stream) { (void)stream; CALL(); return recording ? fails(900) : (waits++, 0); }
int cudaMalloc(void **data, size_t bytes) { CALL(); if (current) return fails(1); if (recording) return fails(900); *data = malloc(bytes), live_device++; return 0; }
int cudaFree(void *data) { free(data), live_device--; return 0; }
int cudaHostAlloc(void **data, size_t bytes, unsigned flags) {
    CALL();
    if (flags) return 1;
    *data = malloc(bytes), live_pinned++;
    return 0;
}
int cudaFreeHost(void *data) { free(data), live_pinned--; return 0; }
int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, void *stream) {
    CALL();
    if (recording) return fails(900);
    if (kind != 1 && kind != 2 || !stream) return 1;
    memcpy(to, from, bytes), copies++;
    if (kind == 2 && waits >= spoiled_after) ((char *)to)[bytes - 1] ^= 0x40;
    return 0;
}
int cudaStreamBeginCapture(void *stream, int mode) {
    CALL();
    if (mode != 1 || recording || !stream) return 1;
    recording = calloc(1, sizeof *recording), live_graphs++;
    return 0;
}
int cudaGraphDestroy(void *graph) { free(graph), live_graphs--; return 0; }
int cudaStreamEndCapture(void *stream, void **graph) {
    if (!recording || !stream) return 1;
    *graph = recording, recording = NULL;
    if (((struct Graph *)*graph)->count < 0) return cudaGraphDestroy(*graph), *graph = NULL, fails(901);
    if (!strcmp(failing, __func__)) return cudaGraphDestroy(*graph), *graph = NULL, fails(failure);
    return 0;
}
int cudaGraphGetNodes(struct Graph *graph, void **nodes, size_t *count) {
    CALL();
    for (size_t i = 0; nodes && i < *count; i++) nodes[i] = &graph->work[i];
    *count = graph->count;
    return 0;
}
int cudaGraphNodeGetType(void *node, int *type) { CALL(); *type = node ? node_type : -1; return 0; }
int cudaGraphInstantiateWithFlags(void **copy, const struct Graph *graph, unsigned long long flags) {
    CALL();
    if (flags) return 1;
    *copy = malloc(sizeof *graph), memcpy(*copy, graph, sizeof *graph), live_graphs++;
    return 0;
}
int cudaGraphExecDestroy(void *graph) { return cudaGraphDestroy(graph); }
int cudaGraphLaunch(struct Graph *graph, void *stream) {
    CALL();
    if (!stream || recording) return 1;
    for (int i = 0; i < graph->count; i++)
        if (graph->work[i].run(graph->work[i].session, graph->work[i].options, graph->work[i].binding)) return 719;
    replays++;
    return 0;
}
