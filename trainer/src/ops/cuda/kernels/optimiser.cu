// Adam, and the scaling of losses that goes with it in half precision.

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
extern "C" __global__ void decide(float* scaling, double step, double beta1, double beta2, float most, unsigned patience) {
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
    scaling[CORRECT1] = (float)(1 / (1 - pow(beta1, taken)));
    scaling[CORRECT2] = (float)(1 / (1 - pow(beta2, taken)));
}

// One step of Adam on n parameters, of which p, m, v and, where there is one, the average lie one after another. Where losses
// are scaled, it may have been decided to skip it.
extern "C" __global__ void adam(T* state, const T* grad, unsigned n, int rows, A lr, A beta1, A beta2, A eps, A correct1, A correct2, A weight, const float* scaling) {
    A unscale = 1;
    if (scaling) {
        unscale = scaling[UNSCALE];
        if (unscale == 0) return;
        correct1 = scaling[CORRECT1];
        correct2 = scaling[CORRECT2];
    }
    FOR_EACH(i, n) {
        A g = get(grad[i]) * unscale;
        A p = get(state[i]), m = get(state[n + i]), v = get(state[2 * (unsigned long long)n + i]);
        m = beta1 * m + (1 - beta1) * g;
        v = beta2 * v + (1 - beta2) * g * g;
        p -= lr * (m * correct1) / (sqrt(v * correct2) + eps);
        state[i] = put(p);
        state[n + i] = put(m);
        state[2 * (unsigned long long)n + i] = put(v);
        if (rows == 4) {
            unsigned long long at = 3 * (unsigned long long)n + i;
            A average = get(state[at]);
            state[at] = put(average + weight * (p - average));
        }
    }
}
