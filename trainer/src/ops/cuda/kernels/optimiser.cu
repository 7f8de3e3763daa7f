// The gradient of all parameters together, and the scaling of losses in half precision.

// Where the numbers of the scaling's state are, as in `ops::scaling`.
enum { SCALE = 0, GOOD = 1, SKIPPED = 2, LOST = 3, FOUND = 4, UNSCALE = 5, CORRECT1 = 6, CORRECT2 = 7 };

// Notes a gradient that is not finite: whichever threads find one, they write the same.
extern "C" __global__ void watch(float* scaling, const T* grad, unsigned n) {
    FOR_EACH(i, n) {
        A g = get(grad[i]);
        if (g - g != 0) scaling[FOUND] = 1;
    }
}

// One thread. What becomes of step number `step`, skipped ones included, and which scale the next one has.
extern "C" __global__ void decide(float* scaling, double step, double decay1, double decay2, float most, unsigned patience) {
    float scale = scaling[SCALE];
    if (scaling[FOUND] != 0) {
        if (scale <= 1) scaling[LOST] += 1;
        scaling[SKIPPED] += 1;
        scaling[UNSCALE] = 0;
        scaling[SCALE] = scale > 2 ? scale / 2 : 1;
        scaling[GOOD] = 0;
    } else {
        scaling[UNSCALE] = 1 / scale;
        scaling[GOOD] += 1;
        if (scaling[GOOD] >= patience) {
            scaling[SCALE] = scale * 2 < most ? scale * 2 : most;
            scaling[GOOD] = 0;
        }
    }
    scaling[FOUND] = 0;
    double taken = step - scaling[SKIPPED];
    scaling[CORRECT1] = (float)(1 / (1 - pow(decay1, taken)));
    scaling[CORRECT2] = (float)(1 / (1 - pow(decay2, taken)));
}

#define INFINITE __uint_as_float(0x7f800000u)

// Gradients of single parameters, and where they go: as many as a kernel takes.
enum { PARTS = 64 };
struct Part {
    const T* from;
    unsigned at, count;
};
struct Parts {
    Part part[PARTS];
};

// Writes the parts, in y, times `weight` to their places, or adds them. Where there is none, zeros are written.
extern "C" __global__ void gather(T* to, Parts parts, A weight, int add) {
    Part part = parts.part[blockIdx.y];
    to += part.at;
    FOR_EACH(i, part.count) {
        if (!part.from) to[i] = 0;
        else if (add) to[i] = put(get(to[i]) + weight * get(part.from[i]));
        // A copy has all bits.
        else to[i] = weight == 1 ? part.from[i] : put(weight * get(part.from[i]));
    }
}

// Sums of squares, one a block.
extern "C" __global__ void squares(double* sums, const T* grad, unsigned n) {
    __shared__ double shared[256];
    double sum = 0;
    FOR_EACH(i, n) {
        double g = get(grad[i]);
        sum += g * g;
    }
    sum = block_sum(sum, shared);
    if (threadIdx.x == 0) sums[blockIdx.x] = sum;
}

// One block. From the sums of squares: the norm, what takes it to `most` where it is larger, and the largest element allowed,
// without a scale both; what is scaled and to be skipped is left alone.
extern "C" __global__ void measure(A* found, const double* sums, unsigned n, double most, double value, const float* scaling) {
    __shared__ double shared[256];
    double sum = 0;
    for (unsigned i = threadIdx.x; i < n; i += blockDim.x) sum += sums[i];
    sum = block_sum(sum, shared);
    if (threadIdx.x != 0) return;
    double unscale = scaling ? scaling[UNSCALE] : 1, norm = sqrt(sum), factor = 1;
    if (unscale == 0) {
        value = INFINITE;
    } else {
        norm *= unscale;
        value /= unscale;
        if (norm > most) factor = most / norm;
    }
    found[0] = (A)norm;
    found[1] = (A)factor;
    found[2] = (A)value;
}

// Multiplies by the factor, and brings into bounds.
extern "C" __global__ void limit(T* grad, const A* found, unsigned n) {
    A factor = found[1], bound = found[2];
    if (factor == 1 && bound == (A)INFINITE) return;
    FOR_EACH(i, n) {
        A g = get(grad[i]) * factor;
        // Comparisons, which leave a NaN alone.
        grad[i] = put(g > bound ? bound : g < -bound ? -bound : g);
    }
}
