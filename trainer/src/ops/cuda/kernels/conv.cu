// Convolutions as products of matrices: patches are gathered from images and scattered back to them, and what is left
// to do with a result is done in the last pass over it. Layouts are those of `ops::conv`.

// The next index of a place: `rest` is what is left of the place's number. Most axes of depth are of size 1, which costs no
// division.
__device__ __forceinline__ unsigned next(unsigned* rest, unsigned size) {
    if (size == 1) return 0;
    unsigned i = *rest % size;
    *rest /= size;
    return i;
}

template <int N>
__device__ __forceinline__ void gather(
    T* patches, const T* images, unsigned count, unsigned depth, unsigned height,
    unsigned width, unsigned channels, unsigned d, unsigned h, unsigned w, unsigned kd, unsigned kh, unsigned kw,
    unsigned sd, unsigned sh, unsigned sw, unsigned pd, unsigned ph, unsigned pw, unsigned run, unsigned first
) {
    FOR_EACH(i, count / N) {
        unsigned rest = i;
        unsigned c = next(&rest, run / N) * N;
        unsigned kj = next(&rest, kw), ki = next(&rest, kh), kk = next(&rest, kd);
        unsigned x = next(&rest, w) * sw + kj - pw, y = next(&rest, h) * sh + ki - ph, z = next(&rest, d) * sd + kk - pd;
        Pack<N> pack = {};
        // Places before the image wrap around to large numbers.
        if (z < depth && y < height && x < width) {
            unsigned long long row = ((unsigned long long)rest * depth + z) * height + y;
            pack = *(const Pack<N>*)(images + (row * width + x) * channels + first + c);
        }
        *(Pack<N>*)(patches + (unsigned long long)i * N) = pack;
    }
}

extern "C" __global__ void gather1(T* patches, const T* images, unsigned count, unsigned depth, unsigned height, unsigned width, unsigned channels, unsigned d, unsigned h, unsigned w, unsigned kd, unsigned kh, unsigned kw, unsigned sd, unsigned sh, unsigned sw, unsigned pd, unsigned ph, unsigned pw, unsigned run, unsigned first) {
    gather<1>(patches, images, count, depth, height, width, channels, d, h, w, kd, kh, kw, sd, sh, sw, pd, ph, pw, run, first);
}
extern "C" __global__ void gather4(T* patches, const T* images, unsigned count, unsigned depth, unsigned height, unsigned width, unsigned channels, unsigned d, unsigned h, unsigned w, unsigned kd, unsigned kh, unsigned kw, unsigned sd, unsigned sh, unsigned sw, unsigned pd, unsigned ph, unsigned pw, unsigned run, unsigned first) {
    gather<4>(patches, images, count, depth, height, width, channels, d, h, w, kd, kh, kw, sd, sh, sw, pd, ph, pw, run, first);
}

// The transpose of gather, seen from the images: every element adds up the patches that it is in, so that no two threads
// write one place and the order of a sum is always the same. Then bias and activation. `count` elements of one group.
template <int N>
__device__ __forceinline__ void scatter(
    T* images, const T* patches, const A* bias, int has_bias, int activation, A slope, unsigned count, unsigned depth, unsigned height,
    unsigned width, unsigned channels, unsigned d, unsigned h, unsigned w, unsigned kd, unsigned kh, unsigned kw,
    unsigned sd, unsigned sh, unsigned sw, unsigned pd, unsigned ph, unsigned pw, unsigned run, unsigned first
) {
    FOR_EACH(i, count / N) {
        unsigned rest = i;
        unsigned c = next(&rest, run / N) * N;
        unsigned long long pixel = rest;
        unsigned x = next(&rest, width) + pw, y = next(&rest, height) + ph, z = next(&rest, depth) + pd;
        A sum[N];
        for (int l = 0; l < N; l++) sum[l] = has_bias ? bias[first + c + l] : (A)0;
        for (unsigned kk = z % sd; kk < kd && kk <= z; kk += sd) {
            unsigned plane = (z - kk) / sd;
            if (plane >= d) continue;
            for (unsigned ki = y % sh; ki < kh && ki <= y; ki += sh) {
                unsigned row = (y - ki) / sh;
                if (row >= h) continue;
                for (unsigned kj = x % sw; kj < kw && kj <= x; kj += sw) {
                    unsigned column = (x - kj) / sw;
                    if (column >= w) continue;
                    unsigned long long at = (((unsigned long long)rest * d + plane) * h + row) * w + column;
                    at = ((at * kd + kk) * kh + ki) * kw + kj;
                    Pack<N> pack = *(const Pack<N>*)(patches + at * run + c);
                    for (int l = 0; l < N; l++) sum[l] += get(pack.at[l]);
                }
            }
        }
        Pack<N> pack;
        for (int l = 0; l < N; l++) pack.at[l] = put(activate(sum[l], activation, slope));
        *(Pack<N>*)(images + pixel * channels + first + c) = pack;
    }
}

extern "C" __global__ void scatter1(T* images, const T* patches, const A* bias, int has_bias, int activation, A slope, unsigned count, unsigned depth, unsigned height, unsigned width, unsigned channels, unsigned d, unsigned h, unsigned w, unsigned kd, unsigned kh, unsigned kw, unsigned sd, unsigned sh, unsigned sw, unsigned pd, unsigned ph, unsigned pw, unsigned run, unsigned first) {
    scatter<1>(images, patches, bias, has_bias, activation, slope, count, depth, height, width, channels, d, h, w, kd, kh, kw, sd, sh, sw, pd, ph, pw, run, first);
}
extern "C" __global__ void scatter4(T* images, const T* patches, const A* bias, int has_bias, int activation, A slope, unsigned count, unsigned depth, unsigned height, unsigned width, unsigned channels, unsigned d, unsigned h, unsigned w, unsigned kd, unsigned kh, unsigned kw, unsigned sd, unsigned sh, unsigned sw, unsigned pd, unsigned ph, unsigned pw, unsigned run, unsigned first) {
    scatter<4>(images, patches, bias, has_bias, activation, slope, count, depth, height, width, channels, d, h, w, kd, kh, kw, sd, sh, sw, pd, ph, pw, run, first);
}

// Bias and activation of rows of channels, in place.
extern "C" __global__ void epilogue(T* values, const A* bias, int has_bias, int activation, A slope, unsigned n, unsigned channels) {
    FOR_EACH(i, n) {
        A x = get(values[i]);
        if (has_bias) x += bias[i % channels];
        values[i] = put(activate(x, activation, slope));
    }
}
