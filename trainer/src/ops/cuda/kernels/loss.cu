// Losses: means of functions of logits. Before this stand the functions, as `ops::Term` has them: `real`, `generated` and
// `generator` give a value, and the derivative in `slope`.

// The functions by their numbers.
__device__ __forceinline__ A term(A l, int number, A* slope) {
    return number == 0 ? real(l, slope) : number == 1 ? generated(l, slope) : generator(l, slope);
}

// One block. Where there are `weights`, functions and slopes at the logits of the first group, then of the second, are multiplied by
// them.
// `out`: the sum over both groups of the mean of the group's function, the mean of the function `other` over the
// second group; of each group the mean logit, the mean sign, the deviation; the slope of the first at each logit; then, where there is a function `other`,
// its slope at each logit of the second group divided by the slope given, which is no smaller than `least` there.
extern "C" __global__ void mean_loss(A* out, const T* first, const T* second, unsigned n, unsigned m, int of_first, int of_second, int other, A least, const float* weights, const float* scale) {
    __shared__ double shared[256];
    A* slopes = out + 8;
    A* ratios = slopes + n + m;
    A factor = scale ? (A)scale[0] : (A)1;
    double loss = 0, other_loss = 0, logits[2] = {0, 0}, signs[2] = {0, 0}, squares[2] = {0, 0};
    for (unsigned i = threadIdx.x; i < n + m; i += blockDim.x) {
        bool second_group = i >= n;
        A l = get(second_group ? second[i - n] : first[i]), count = second_group ? m : n, slope;
        A weight = weights ? (A)weights[i] : (A)1;
        loss += (double)(term(l, second_group ? of_second : of_first, &slope) * weight) / count;
        logits[second_group] += (double)l / count;
        // In this form a NaN stays one.
        signs[second_group] += (double)(l > 0 ? (A)1 : l < 0 ? (A)-1 : l) / count;
        squares[second_group] += (double)l * l / count;
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
    for (int group = 0; group < 2; group++) {
        logits[group] = block_sum(logits[group], shared);
        signs[group] = block_sum(signs[group], shared);
        squares[group] = block_sum(squares[group], shared);
    }
    if (threadIdx.x == 0) {
        out[0] = (A)loss;
        out[1] = (A)other_loss;
        for (int group = 0; group < 2; group++) {
            double variance = squares[group] - logits[group] * logits[group];
            out[2 + group] = (A)logits[group];
            out[4 + group] = (A)signs[group];
            out[6 + group] = (A)(variance < 0 ? 0 : sqrt(variance));
        }
    }
}
