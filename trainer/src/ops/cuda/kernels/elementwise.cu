// Functions of the elements at each place of one, two or three tensors of one shape. Their numbers are those that the trait
// `Map` has for them: up to 6 a function, its derivative and its second derivative.

extern "C" __global__ void map1(T* out, const T* x_in, unsigned n, int kind, A p) {
    FOR_EACH(i, n) {
        A x = get(x_in[i]), y = x;
        switch (kind) {
        case 0: y = leaky(x, p); break;
        case 1: y = tanh(x); break;
        case 2: y = logistic(x); break;
        case 3: y = softplus(x); break;
        case 4: y = x * logistic(x); break;
        case 5: y = x * x; break;
        case 6: y = sqrt(1 / (x + p)); break;
        }
        out[i] = put(y);
    }
}

extern "C" __global__ void map2(T* out, const T* a_in, const T* g_in, unsigned n, int kind, A p) {
    FOR_EACH(i, n) {
        A a = get(a_in[i]), g = get(g_in[i]), y = g;
        switch (kind) {
        case 0: case 7: y = a > 0 ? g : p * g; break;
        case 1: { A t = tanh(a); y = g * (1 - t * t); break; }
        case 2: y = g * logistic_slope(a); break;
        case 3: y = g * logistic(a); break;
        case 4: y = g * (logistic(a) + a * logistic_slope(a)); break;
        case 5: y = g * (a + a); break;
        case 6: { A r = 1 / (a + p); y = g * ((A)-0.5 * r * sqrt(r)); break; }
        // From the function's result: 7 as 0, which only looks at the sign.
        case 8: y = g * (1 - a * a); break;
        case 9: y = a + p * g; break;
        }
        out[i] = put(y);
    }
}

extern "C" __global__ void map3(T* out, const T* x_in, const T* a_in, const T* b_in, unsigned n, int kind, A p) {
    FOR_EACH(i, n) {
        A x = get(x_in[i]), a = get(a_in[i]), b = get(b_in[i]), f = 0;
        switch (kind) {
        case 1: { A t = tanh(x); f = -2 * t * (1 - t * t); break; }
        case 2: f = -logistic_slope(x) * tanh(x / 2); break;
        case 3: f = logistic_slope(x); break;
        case 4: f = logistic_slope(x) * (2 - x * tanh(x / 2)); break;
        case 5: f = 2; break;
        case 6: { A r = 1 / (x + p); f = (A)0.75 * r * r * sqrt(r); break; }
        // From the hyperbolic tangent, and with its tangent in `a`.
        case 7: f = -2 * x; break;
        }
        out[i] = put(a * b * f);
    }
}
