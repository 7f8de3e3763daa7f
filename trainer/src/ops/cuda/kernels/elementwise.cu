// Functions of each element, and Adam.

// Their numbers are those of the traits `Unary` and `Binary`.
extern "C" __global__ void unary(T* out, const T* in, unsigned n, int kind, A p) {
    FOR_EACH(i, n) {
        A x = get(in[i]);
        A y = x;
        switch (kind) {
        case 0: y = leaky(x, p); break;
        case 1: y = tanh(x); break;
        case 2: y = logistic(x); break;
        case 3: y = softplus(x); break;
        case 4: y = x * logistic(x); break;
        }
        out[i] = put(y);
    }
}

extern "C" __global__ void binary(T* out, const T* a_in, const T* g_in, unsigned n, int kind, A p) {
    FOR_EACH(i, n) {
        A a = get(a_in[i]), g = get(g_in[i]), y = g;
        switch (kind) {
        case 0: y = a > 0 ? g : p * g; break;
        case 1: y = g * (1 - a * a); break;
        case 2: y = g * logistic_slope(a); break;
        case 3: y = g * (logistic(a) + a * logistic_slope(a)); break;
        }
        out[i] = put(y);
    }
}

// One step of Adam on n parameters, of which p, m, v and, where there is one, the average lie one after another.
extern "C" __global__ void adam(T* state, const T* grad, unsigned n, int rows, A lr, A beta1, A beta2, A eps, A correct1, A correct2, A weight) {
    FOR_EACH(i, n) {
        A g = get(grad[i]);
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
