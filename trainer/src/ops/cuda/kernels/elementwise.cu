// Functions of each element.

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
