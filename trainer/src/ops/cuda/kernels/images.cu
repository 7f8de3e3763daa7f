// Images made larger and smaller, and taken from a data set.

enum { REPEAT = 0, SUM = 1, SHUFFLE = 2, UNSHUFFLE = 3 };

// The input is [N, h, w, c], the output [N, out_h, out_w, out_c] of n elements.
extern "C" __global__ void resample(T* out, const T* x, unsigned n, int kind, unsigned f, unsigned h, unsigned w, unsigned c, unsigned out_h, unsigned out_w, unsigned out_c) {
    FOR_EACH(i, n) {
        unsigned channel = i % out_c, pixel = i / out_c;
        unsigned column = pixel % out_w, r = pixel / out_w;
        unsigned row = r % out_h, image = r / out_h;
        const T* from = x + (unsigned long long)image * h * w * c;
        if (kind == REPEAT) {
            out[i] = from[(row / f * w + column / f) * c + channel];
        } else if (kind == SUM) {
            A sum = 0;
            for (unsigned k = 0; k < f * f; k++) sum += get(from[((row * f + k / f) * w + column * f + k % f) * c + channel]);
            out[i] = put(sum);
        } else if (kind == SHUFFLE) {
            out[i] = from[(row / f * w + column / f) * c + channel * f * f + row % f * f + column % f];
        } else {
            unsigned k = channel % (f * f);
            out[i] = from[((row * f + k / f) * w + column * f + k % f) * c + channel / (f * f)];
        }
    }
}

// Images number index[0], index[1], ... of a data set [all, channels, pixels] of bytes, channels last, in [-1, 1].
extern "C" __global__ void take_images(T* out, const unsigned char* data, const unsigned* index, unsigned n, unsigned channels, unsigned pixels) {
    FOR_EACH(i, n) {
        unsigned c = i % channels, rest = i / channels;
        unsigned long long at = ((unsigned long long)index[rest / pixels] * channels + c) * pixels + rest % pixels;
        out[i] = put((A)data[at] / (A)127.5 - 1);
    }
}
