// Rows of channels: maps with one constant a channel, sums down the columns, batch normalisation.

extern "C" __global__ void add_bias(T* out, const T* x, const T* c, unsigned n, unsigned channels) {
    FOR_EACH(i, n) out[i] = put(get(x[i]) + get(c[i % channels]));
}
extern "C" __global__ void channel_scale(T* out, const T* x, const T* c, unsigned n, unsigned channels) {
    FOR_EACH(i, n) out[i] = put(get(x[i]) * get(c[i % channels]));
}

// Two sums over some rows for every channel, in two stages. In the first, block (b, s) adds rows b, b + blocks, ... in
// groups of `blockDim.x / lanes` rows at once, of up to 256 channels from 256 s on; partial sums [2, channels, blocks].
// `terms` gives the two terms of the element at (row, channel).
template <class Terms>
__device__ __forceinline__ void partial_sums(double* partial, unsigned rows, unsigned channels, Terms terms) {
    __shared__ double shared[2][256];
    unsigned lanes = channels < 256 ? channels : 256, together = blockDim.x / lanes;
    unsigned lane = threadIdx.x % lanes, group = threadIdx.x / lanes;
    unsigned channel = blockIdx.y * 256 + lane;
    bool works = group < together && channel < channels;
    double total[2] = {0, 0};
    if (works) {
        unsigned row = blockIdx.x * together + group, step = gridDim.x * together;
        while (row < rows) {
            // A few in the type of arithmetic, which is quicker, then these sums in double precision.
            A few[2] = {0, 0};
            for (int k = 0; k < 16 && row < rows; k++, row += step) {
                A of[2];
                terms(row, channel, of);
                few[0] += of[0];
                few[1] += of[1];
            }
            total[0] += few[0];
            total[1] += few[1];
        }
    }
    shared[0][threadIdx.x] = total[0];
    shared[1][threadIdx.x] = total[1];
    __syncthreads();
    if (works && group == 0) {
        for (int k = 0; k < 2; k++) {
            double sum = 0;
            for (unsigned g = 0; g < together; g++) sum += shared[k][g * lanes + lane];
            partial[((unsigned long long)k * channels + channel) * gridDim.x + blockIdx.x] = sum;
        }
    }
}

// The second stage, a block a channel: both sums over all blocks.
__device__ __forceinline__ void whole_sums(const double* partial, unsigned blocks, unsigned channels, double* sums) {
    __shared__ double shared[128];
    for (int k = 0; k < 2; k++) {
        double sum = 0;
        for (unsigned b = threadIdx.x; b < blocks; b += blockDim.x) {
            sum += partial[((unsigned long long)k * channels + blockIdx.x) * blocks + b];
        }
        sums[k] = block_sum(sum, shared);
    }
}

struct Plain {
    const T* x;
    unsigned channels;
    __device__ void operator()(unsigned row, unsigned channel, A* of) const {
        of[0] = get(x[(unsigned long long)row * channels + channel]);
        of[1] = 0;
    }
};
extern "C" __global__ void sum_partial(double* partial, const T* x, unsigned rows, unsigned channels) {
    partial_sums(partial, rows, channels, Plain{x, channels});
}

struct Product {
    const T* a;
    const T* b;
    unsigned channels;
    __device__ void operator()(unsigned row, unsigned channel, A* of) const {
        unsigned long long at = (unsigned long long)row * channels + channel;
        of[0] = get(a[at]) * get(b[at]);
        of[1] = 0;
    }
};
extern "C" __global__ void dot_partial(double* partial, const T* a, const T* b, unsigned rows, unsigned channels) {
    partial_sums(partial, rows, channels, Product{a, b, channels});
}

extern "C" __global__ void sum_whole(A* out, const double* partial, unsigned blocks, unsigned channels) {
    double sums[2];
    whole_sums(partial, blocks, channels, sums);
    if (threadIdx.x == 0) out[blockIdx.x] = (A)sums[0];
}

// Differences to the first row: a mean far from zero costs few digits.
struct Moments {
    const T* x;
    unsigned channels;
    __device__ void operator()(unsigned row, unsigned channel, A* of) const {
        A d = get(x[(unsigned long long)row * channels + channel]) - get(x[channel]);
        of[0] = d;
        of[1] = d * d;
    }
};
extern "C" __global__ void moments_partial(double* partial, const T* x, unsigned rows, unsigned channels) {
    partial_sums(partial, rows, channels, Moments{x, channels});
}

// Mean and variance [2, channels], and the scale and shift that the normalisation amounts to, [2, channels].
extern "C" __global__ void moments_whole(double* statistics, A* affine, const double* partial, const T* x, const A* gamma, const A* beta, double eps, unsigned blocks, unsigned rows, unsigned channels) {
    double sums[2];
    whole_sums(partial, blocks, channels, sums);
    if (threadIdx.x == 0) {
        unsigned c = blockIdx.x;
        double moved = sums[0] / rows, mean = (double)get(x[c]) + moved;
        double variance = sums[1] / rows - moved * moved;
        if (variance < 0) variance = 0;
        double scale = (double)gamma[c] / sqrt(variance + eps);
        statistics[c] = mean;
        statistics[channels + c] = variance;
        affine[c] = (A)scale;
        affine[channels + c] = (A)((double)beta[c] - mean * scale);
    }
}

extern "C" __global__ void norm_apply(T* out, const T* x, const A* affine, int activation, A slope, unsigned n, unsigned channels) {
    FOR_EACH(i, n) {
        unsigned c = i % channels;
        out[i] = put(activate(affine[c] * get(x[i]) + affine[channels + c], activation, slope));
    }
}

struct Backward {
    const T* x;
    const T* g;
    const A* affine;
    const double* statistics;
    int activation;
    A slope;
    unsigned channels;
    __device__ void operator()(unsigned row, unsigned channel, A* of) const {
        unsigned long long at = (unsigned long long)row * channels + channel;
        A value = get(x[at]);
        A grad = before(affine[channel] * value + affine[channels + channel], get(g[at]), activation, slope);
        of[0] = grad;
        of[1] = grad * (value - (A)statistics[channel]);
    }
};
// scale and shift from statistics, for the way back.
extern "C" __global__ void norm_affine(A* affine, const double* statistics, const A* gamma, const A* beta, double eps, unsigned channels) {
    FOR_EACH(c, channels) {
        double scale = (double)gamma[c] / sqrt(statistics[channels + c] + eps);
        affine[c] = (A)scale;
        affine[channels + c] = (A)((double)beta[c] - statistics[c] * scale);
    }
}
extern "C" __global__ void norm_partial(double* partial, const T* x, const T* g, const A* affine, const double* statistics, int activation, A slope, unsigned rows, unsigned channels) {
    partial_sums(partial, rows, channels, Backward{x, g, affine, statistics, activation, slope, channels});
}

// The gradients of gamma and beta, and the constants of dx = scale g + b x + d: [2, channels].
extern "C" __global__ void norm_whole(A* dgamma, A* dbeta, A* constants, const double* partial, const A* affine, const double* statistics, double eps, unsigned blocks, unsigned rows, unsigned channels) {
    double sums[2];
    whole_sums(partial, blocks, channels, sums);
    if (threadIdx.x == 0) {
        unsigned c = blockIdx.x;
        double inverse = 1 / sqrt(statistics[channels + c] + eps), scale = affine[c];
        double of_gamma = sums[1] * inverse;
        double b = -scale * of_gamma / rows * inverse;
        dgamma[c] = (A)of_gamma;
        dbeta[c] = (A)sums[0];
        constants[c] = (A)b;
        constants[channels + c] = (A)(-scale * sums[0] / rows - b * statistics[c]);
    }
}

extern "C" __global__ void norm_grad(T* dx, const T* x, const T* g, const A* affine, const A* constants, int activation, A slope, unsigned n, unsigned channels) {
    FOR_EACH(i, n) {
        unsigned c = i % channels;
        A value = get(x[i]), scale = affine[c];
        A grad = before(scale * value + affine[channels + c], get(g[i]), activation, slope);
        dx[i] = put(scale * grad + constants[c] * value + constants[channels + c]);
    }
}
