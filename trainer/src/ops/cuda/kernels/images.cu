// Images made larger and smaller, and taken from a data set.

enum { REPEAT = 0, SUM = 1, SHUFFLE = 2, UNSHUFFLE = 3 };

// The input is [N, d, h, w, c], the output [N, out_d, out_h, out_w, out_c] of n elements; factors of depth, height and width.
extern "C" __global__ void resample(T* out, const T* x, unsigned n, int kind, unsigned fd, unsigned fh, unsigned fw, A scale, unsigned d, unsigned h, unsigned w, unsigned c, unsigned out_d, unsigned out_h, unsigned out_w, unsigned out_c) {
    FOR_EACH(i, n) {
        unsigned channel = i % out_c, pixel = i / out_c;
        unsigned column = pixel % out_w, r = pixel / out_w;
        unsigned row = r % out_h, s = r / out_h;
        unsigned plane = s % out_d;
        const T* from = x + (unsigned long long)(s / out_d) * d * h * w * c;
        if (kind == REPEAT) {
            out[i] = put(scale * get(from[((plane / fd * h + row / fh) * w + column / fw) * c + channel]));
        } else if (kind == SUM) {
            A sum = 0;
            for (unsigned kk = plane * fd; kk < plane * fd + fd; kk++) {
                for (unsigned ki = row * fh; ki < row * fh + fh; ki++) {
                    for (unsigned kj = column * fw; kj < column * fw + fw; kj++) sum += get(from[((kk * h + ki) * w + kj) * c + channel]);
                }
            }
            out[i] = put(scale * sum);
        } else if (kind == SHUFFLE) {
            out[i] = from[(row / fh * w + column / fw) * c + channel * fh * fw + row % fh * fw + column % fw];
        } else {
            unsigned k = channel % (fh * fw);
            out[i] = from[((row * fh + k / fw) * w + column * fw + k % fw) * c + channel / (fh * fw)];
        }
    }
}

// Images number index[0], index[1], ... of a data set of bytes, of `size` bytes each, in [-1, 1]; those whose number has its
// highest bit set mirrored. Colours are multiplied by the last of 2 or 4 channels.
extern "C" __global__ void take_images(T* out, const unsigned char* data, const unsigned* index, unsigned n, unsigned size, unsigned width, unsigned channels) {
    FOR_EACH(i, n) {
        unsigned number = index[i / size], channel = i % channels, pixel = i % size / channels;
        if (number >> 31) pixel += width - 1 - 2 * (pixel % width);
        const unsigned char* from = data + (unsigned long long)(number & 0x7fffffff) * size + (unsigned long long)pixel * channels;
        A value = (A)from[channel];
        if (channels % 2 == 0 && channel + 1 < channels) value *= (A)from[channels - 1] / (A)255;
        out[i] = put(value / (A)127.5 - 1);
    }
}
