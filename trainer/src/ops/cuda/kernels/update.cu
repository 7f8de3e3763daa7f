// A step of an optimiser. Before this stands its formula, as `ops::Rule` has it: `struct Rule`, which goes from a gradient to
// the new value and moments of one parameter.

// As many averages, as in `ops::update`, and what each moves towards the new value by.
enum { AVERAGES = 3 };
struct Averages {
    A towards[AVERAGES];
};

// Where the numbers of the scaling's state are, as in `ops::scaling`.
enum { UNSCALE = 5, CORRECT1 = 6, CORRECT2 = 7 };

// On n parameters, whose values, moments and averages are rows of the state. Where losses are scaled, it may have been decided
// to skip the step.
extern "C" __global__ void update(T* state, const T* grad, unsigned n, Rule rule, A correct1, A correct2, int averages, Averages by, const float* scaling) {
    A unscale = 1;
    if (scaling) {
        unscale = scaling[UNSCALE];
        if (unscale == 0) return;
        correct1 = scaling[CORRECT1];
        correct2 = scaling[CORRECT2];
    }
    FOR_EACH(i, n) {
        T* row = state + i;
        A p = get(*row), m[Rule::MOMENTS];
#pragma unroll
        for (int k = 0; k < Rule::MOMENTS; k++) m[k] = get(row[(k + 1) * (unsigned long long)n]);
        rule.step(p, m, get(grad[i]) * unscale, correct1, correct2);
        *row = put(p);
#pragma unroll
        for (int k = 0; k < Rule::MOMENTS; k++) row[(k + 1) * (unsigned long long)n] = put(m[k]);
#pragma unroll
        for (int k = 0; k < AVERAGES; k++) {
            if (k >= averages) break;
            T* at = row + (1 + Rule::MOMENTS + k) * (unsigned long long)n;
            A average = get(*at);
            *at = put(average + by.towards[k] * (p - average));
        }
    }
}
