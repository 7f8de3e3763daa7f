// Losses: means of functions of logits.

// The functions by the numbers that `objective` has for them: the value, and the derivative in `slope`. With D = logistic(l):
__device__ __forceinline__ A term(A l, int number, A* slope) {
    switch (number) {
    case 0: *slope = -logistic(-l); return softplus(-l);  // -log D
    case 1: *slope = logistic(l); return softplus(l);     // -log(1 - D)
    case 2: *slope = -logistic(l); return -softplus(l);   // log(1 - D)
    }
    // A number without a function is to be seen.
    return *slope = (A)__uint_as_float(0x7fffffffu);
}

// One block. `out`: the sum over both groups of the mean of the group's function, the mean of the function `wished` over the
// second group, the mean logit of each group; the slope of the first at each logit; then, where there is a function `wished`,
// its slope at each logit of the second group divided by the slope given, which is no smaller than `least` there.
extern "C" __global__ void mean_loss(A* out, const T* first, const T* second, unsigned n, unsigned m, int of_first, int of_second, int wished, A least, const float* scale) {
    __shared__ double shared[256];
    A* slopes = out + 4;
    A* ratios = slopes + n + m;
    A factor = scale ? (A)scale[0] : (A)1;
    double loss = 0, wish = 0, real = 0, fake = 0;
    for (unsigned i = threadIdx.x; i < n + m; i += blockDim.x) {
        bool other = i >= n;
        A l = get(other ? second[i - n] : first[i]), count = other ? m : n, slope;
        loss += (double)term(l, other ? of_second : of_first, &slope) / count;
        (other ? fake : real) += (double)l / count;
        slope = slope / count * factor;
        if (other && wished >= 0) {
            // In this form a NaN stays one.
            if ((slope < 0 ? -slope : slope) < least) slope = slope < 0 ? -least : least;
            A steeper;
            wish += (double)term(l, wished, &steeper) / count;
            ratios[i - n] = steeper / count / slope;
        }
        slopes[i] = slope;
    }
    loss = block_sum(loss, shared);
    wish = block_sum(wish, shared);
    real = block_sum(real, shared);
    fake = block_sum(fake, shared);
    if (threadIdx.x == 0) {
        out[0] = (A)loss;
        out[1] = (A)wish;
        out[2] = (A)real;
        out[3] = (A)fake;
    }
}
