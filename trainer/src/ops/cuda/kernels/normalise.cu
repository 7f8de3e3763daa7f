// Layer, group and pixel normalisation: a block a group. Formulas and names are those of `ops::normalise`.

// Where element e of this block's group lies.
__device__ __forceinline__ unsigned long long place(unsigned e, unsigned rows, unsigned channels, unsigned groups) {
    unsigned width = channels / groups, sample = blockIdx.x / groups, group = blockIdx.x % groups;
    return ((unsigned long long)sample * rows + e / width) * channels + group * width + e % width;
}

// The mean that is subtracted, and s.
__device__ __forceinline__ void moments(const T* x, unsigned rows, unsigned channels, unsigned groups, int centred, double eps, double* shared, A* mean, double* s) {
    unsigned n = rows * (channels / groups);
    double sum = 0, squares = 0;
    if (centred) {
        for (unsigned e = threadIdx.x; e < n; e += blockDim.x) sum += get(x[place(e, rows, channels, groups)]);
        sum = block_sum(sum, shared) / n;
    }
    *mean = (A)sum;
    for (unsigned e = threadIdx.x; e < n; e += blockDim.x) {
        A d = get(x[place(e, rows, channels, groups)]) - *mean;
        squares += (double)(d * d);
    }
    *s = 1 / sqrt(block_sum(squares, shared) / n + eps);
}

extern "C" __global__ void normalise_value(T* out, const T* x, const T* gamma, const T* beta, unsigned rows, unsigned channels, unsigned groups, int centred, double eps) {
    __shared__ double shared[256];
    A mean;
    double s;
    moments(x, rows, channels, groups, centred, eps, shared, &mean, &s);
    unsigned n = rows * (channels / groups);
    for (unsigned e = threadIdx.x; e < n; e += blockDim.x) {
        unsigned long long at = place(e, rows, channels, groups);
        unsigned c = at % channels;
        out[at] = put((get(x[at]) - mean) * (A)s * get(gamma[c]) + get(beta[c]));
    }
}

extern "C" __global__ void normalise_grad(T* out, const T* x, const T* gamma, const T* g, unsigned rows, unsigned channels, unsigned groups, int centred, double eps) {
    __shared__ double shared[256];
    A mean;
    double s;
    moments(x, rows, channels, groups, centred, eps, shared, &mean, &s);
    unsigned n = rows * (channels / groups);
    double product = 0, sum = 0;
    for (unsigned e = threadIdx.x; e < n; e += blockDim.x) {
        unsigned long long at = place(e, rows, channels, groups);
        A p = get(g[at]) * get(gamma[at % channels]);
        product += (double)(p * (get(x[at]) - mean));
        sum += (double)p;
    }
    product = block_sum(product, shared);
    sum = block_sum(sum, shared);
    A slope = (A)(-s * s * s * product / n), shift = centred ? (A)(-s * sum / n) : (A)0;
    for (unsigned e = threadIdx.x; e < n; e += blockDim.x) {
        unsigned long long at = place(e, rows, channels, groups);
        out[at] = put((A)s * (get(g[at]) * get(gamma[at % channels])) + slope * (get(x[at]) - mean) + shift);
    }
}

extern "C" __global__ void normalise_second(T* out, const T* x, const T* p, const T* h, unsigned rows, unsigned channels, unsigned groups, int centred, double eps) {
    __shared__ double shared[256];
    A mean;
    double s;
    moments(x, rows, channels, groups, centred, eps, shared, &mean, &s);
    unsigned n = rows * (channels / groups);
    double sums[5] = {0, 0, 0, 0, 0};
    for (unsigned e = threadIdx.x; e < n; e += blockDim.x) {
        unsigned long long at = place(e, rows, channels, groups);
        A d = get(x[at]) - mean, a = get(p[at]), b = get(h[at]);
        sums[0] += (double)(a * d);
        sums[1] += (double)(b * d);
        sums[2] += (double)(a * b);
        sums[3] += (double)a;
        sums[4] += (double)b;
    }
    for (int k = 0; k < 5; k++) sums[k] = block_sum(sums[k], shared);
    double p_u = sums[0] * s, h_u = sums[1] * s, factor = -s * s / n;
    double p_mean = centred ? sums[3] / n : 0, h_mean = centred ? sums[4] / n : 0;
    double of_x = factor * s * (sums[2] - n * p_mean * h_mean - 3 * p_u * h_u / n);
    double shift = -factor * (h_u * p_mean + p_u * h_mean);
    for (unsigned e = threadIdx.x; e < n; e += blockDim.x) {
        unsigned long long at = place(e, rows, channels, groups);
        A d = get(x[at]) - mean;
        out[at] = put((A)(factor * h_u) * get(p[at]) + (A)(factor * p_u) * get(h[at]) + (A)of_x * d + (A)shift);
    }
}
