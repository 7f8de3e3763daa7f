// Convolutions as products of matrices: patches are gathered from images and scattered back to them, and what is left
// to do with a result is done in the last pass over it. Layouts are those of `ops::conv`.

template <int N>
__device__ __forceinline__ void gather(
    T* patches, const T* images, unsigned count, unsigned height, unsigned width, unsigned channels, unsigned h,
    unsigned w, unsigned kh, unsigned kw, unsigned sh, unsigned sw, unsigned ph, unsigned pw, unsigned run, unsigned first
) {
    unsigned packs = run / N;
    FOR_EACH(i, count / N) {
        unsigned c = i % packs * N, tap = i / packs;
        unsigned kj = tap % kw, rest = tap / kw;
        unsigned ki = rest % kh, row = rest / kh;
        unsigned j = row % w, r = row / w;
        unsigned y = r % h * sh + ki - ph, x = j * sw + kj - pw;
        Pack<N> pack = {};
        // Places before the image wrap around to large numbers.
        if (y < height && x < width) {
            unsigned long long at = (((unsigned long long)(r / h) * height + y) * width + x) * channels + first + c;
            pack = *(const Pack<N>*)(images + at);
        }
        *(Pack<N>*)(patches + (unsigned long long)i * N) = pack;
    }
}

extern "C" __global__ void gather1(T* patches, const T* images, unsigned count, unsigned height, unsigned width, unsigned channels, unsigned h, unsigned w, unsigned kh, unsigned kw, unsigned sh, unsigned sw, unsigned ph, unsigned pw, unsigned run, unsigned first) {
    gather<1>(patches, images, count, height, width, channels, h, w, kh, kw, sh, sw, ph, pw, run, first);
}
extern "C" __global__ void gather4(T* patches, const T* images, unsigned count, unsigned height, unsigned width, unsigned channels, unsigned h, unsigned w, unsigned kh, unsigned kw, unsigned sh, unsigned sw, unsigned ph, unsigned pw, unsigned run, unsigned first) {
    gather<4>(patches, images, count, height, width, channels, h, w, kh, kw, sh, sw, ph, pw, run, first);
}

// The transpose of gather, seen from the images: every element adds up the patches that it is in, so that no two threads
// write one place and the order of a sum is always the same. Then bias and activation. `count` elements of one group.
template <int N>
__device__ __forceinline__ void scatter(
    T* images, const T* patches, const A* bias, int has_bias, int activation, A slope, unsigned count, unsigned height,
    unsigned width, unsigned channels, unsigned h, unsigned w, unsigned kh, unsigned kw, unsigned sh, unsigned sw,
    unsigned ph, unsigned pw, unsigned run, unsigned first
) {
    unsigned packs = run / N;
    FOR_EACH(i, count / N) {
        unsigned c = i % packs * N, pixel = i / packs;
        unsigned x = pixel % width, r = pixel / width;
        unsigned y = r % height, image = r / height;
        A sum[N];
        for (int l = 0; l < N; l++) sum[l] = has_bias ? bias[first + c + l] : (A)0;
        for (unsigned ki = (y + ph) % sh; ki < kh && ki <= y + ph; ki += sh) {
            unsigned row = (y + ph - ki) / sh;
            if (row >= h) continue;
            for (unsigned kj = (x + pw) % sw; kj < kw && kj <= x + pw; kj += sw) {
                unsigned column = (x + pw - kj) / sw;
                if (column >= w) continue;
                unsigned long long at = (((unsigned long long)image * h + row) * w + column) * kh * kw + ki * kw + kj;
                Pack<N> pack = *(const Pack<N>*)(patches + at * run + c);
                for (int l = 0; l < N; l++) sum[l] += get(pack.at[l]);
            }
        }
        Pack<N> pack;
        for (int l = 0; l < N; l++) pack.at[l] = put(activate(sum[l], activation, slope));
        *(Pack<N>*)(images + (unsigned long long)pixel * channels + first + c) = pack;
    }
}

extern "C" __global__ void scatter1(T* images, const T* patches, const A* bias, int has_bias, int activation, A slope, unsigned count, unsigned height, unsigned width, unsigned channels, unsigned h, unsigned w, unsigned kh, unsigned kw, unsigned sh, unsigned sw, unsigned ph, unsigned pw, unsigned run, unsigned first) {
    scatter<1>(images, patches, bias, has_bias, activation, slope, count, height, width, channels, h, w, kh, kw, sh, sw, ph, pw, run, first);
}
extern "C" __global__ void scatter4(T* images, const T* patches, const A* bias, int has_bias, int activation, A slope, unsigned count, unsigned height, unsigned width, unsigned channels, unsigned h, unsigned w, unsigned kh, unsigned kw, unsigned sh, unsigned sw, unsigned ph, unsigned pw, unsigned run, unsigned first) {
    scatter<4>(images, patches, bias, has_bias, activation, slope, count, height, width, channels, h, w, kh, kw, sh, sw, ph, pw, run, first);
}

// Bias and activation of rows of channels, in place.
extern "C" __global__ void epilogue(T* values, const A* bias, int has_bias, int activation, A slope, unsigned n, unsigned channels) {
    FOR_EACH(i, n) {
        A x = get(values[i]);
        if (has_bias) x += bias[i % channels];
        values[i] = put(activate(x, activation, slope));
    }
}
