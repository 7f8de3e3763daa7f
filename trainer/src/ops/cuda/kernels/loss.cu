// Losses: means of functions of logits. Before this stand the functions, as `ops::Term` has them: `real`, `generated` and
// `generator` give a value, and the derivative in `slope`.

// The functions by their numbers.
__device__ __forceinline__ A term(A l, int number, A* slope) {
    return number == 0 ? real(l, slope) : number == 1 ? generated(l, slope) : generator(l, slope);
}

// Of numbers with this mean and mean square. Rounding may bring a variance of 0 below that; a NaN stays one.
__device__ __forceinline__ double deviation(double mean, double square) {
    double variance = square - mean * mean;
    return variance < 0 ? 0 : sqrt(variance);
}

// One block. Where there are `weights`, functions and slopes at the logits of the first group, then of the second, are multiplied by
// them.
// `out`: the sum over both groups of the mean of the group's function, the mean of the function `other` over the
// second group; of each group the mean logit, then the mean signs, then the deviations; the slope of the first at each logit; then,
// where there is a function `other`, its slope at each logit of the second group divided by the slope given, which is no smaller than `least` there.
extern "C" __global__ void mean_loss(A* out, const T* first, const T* second, unsigned n, unsigned m, int of_first, int of_second, int other, A least, const float* weights, const float* scale) {
    __shared__ double shared[256];
    A* slopes = out + 8;
    A* ratios = slopes + n + m;
    A factor = scale ? (A)scale[0] : (A)1;
    double loss = 0, other_loss = 0;
    double real_logits = 0, fake_logits = 0, real_signs = 0, fake_signs = 0, real_squares = 0, fake_squares = 0;
    for (unsigned i = threadIdx.x; i < n + m; i += blockDim.x) {
        bool second_group = i >= n;
        A l = get(second_group ? second[i - n] : first[i]), count = second_group ? m : n, slope;
        A weight = weights ? (A)weights[i] : (A)1;
        loss += (double)(term(l, second_group ? of_second : of_first, &slope) * weight) / count;
        (second_group ? fake_logits : real_logits) += (double)l / count;
        // In this form a NaN stays one.
        (second_group ? fake_signs : real_signs) += (double)(l > 0 ? (A)1 : l < 0 ? (A)-1 : l) / count;
        (second_group ? fake_squares : real_squares) += (double)l * l / count;
        slope = slope * weight / count * factor;
        if (second_group && other >= 0) {
            // In this form a NaN stays one.
            if ((slope < 0 ? -slope : slope) < least) slope = slope < 0 ? -least : least;
            A steeper;
            other_loss += (double)(term(l, other, &steeper) * weight) / count;
            ratios[i - n] = steeper * weight / count / slope;
        }
        slopes[i] = slope;
    }
    loss = block_sum(loss, shared);
    other_loss = block_sum(other_loss, shared);
    real_logits = block_sum(real_logits, shared);
    fake_logits = block_sum(fake_logits, shared);
    real_signs = block_sum(real_signs, shared);
    fake_signs = block_sum(fake_signs, shared);
    real_squares = block_sum(real_squares, shared);
    fake_squares = block_sum(fake_squares, shared);
    if (threadIdx.x == 0) {
        out[0] = (A)loss;
        out[1] = (A)other_loss;
        out[2] = (A)real_logits;
        out[3] = (A)fake_logits;
        out[4] = (A)real_signs;
        out[5] = (A)fake_signs;
        out[6] = (A)deviation(real_logits, real_squares);
        out[7] = (A)deviation(fake_logits, fake_squares);
    }
}
