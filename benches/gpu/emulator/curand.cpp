// Random numbers: not cuRAND's own sequence, but one that a seed fixes.
#include <cmath>
#include <cstddef>
#include <cstdint>

#define API extern "C" __attribute__((visibility("default")))

extern "C" void kiln_emulated_require(const char *who, const void *pointer, size_t size);
extern "C" void kiln_emulated_launched();

namespace {

enum Status { OK = 0, NOT_INITIALIZED = 101, LENGTH_NOT_MULTIPLE = 105 };

// splitmix64: a counter and a mixer, which makes an offset a matter of adding.
struct Generator {
  uint64_t seed = 0, position = 0;
  uint64_t next() {
    uint64_t z = (seed * 0xD1342543DE82EF95u) + ++position * 0x9E3779B97F4A7C15u;
    z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9u;
    z = (z ^ z >> 27) * 0x94D049BB133111EBu;
    return z ^ z >> 31;
  }
  // (0, 1], as cuRAND has it.
  double uniform() { return double((next() >> 11) + 1) * 0x1p-53; }
};

template <class T>
Status fill(Generator *generator, T *out, size_t count, T (*make)(Generator &)) {
  if (!generator) return NOT_INITIALIZED;
  kiln_emulated_require("random numbers", out, count * sizeof(T));
  kiln_emulated_launched();
  for (size_t i = 0; i < count; i++) out[i] = make(*generator);
  return OK;
}

template <class T>
Status normal(Generator *generator, T *out, size_t count, T mean, T deviation, bool exponential) {
  if (!generator) return NOT_INITIALIZED;
  // Its numbers come in pairs.
  if (count % 2) return LENGTH_NOT_MULTIPLE;
  kiln_emulated_require("random numbers", out, count * sizeof(T));
  kiln_emulated_launched();
  for (size_t i = 0; i < count; i += 2) {
    double radius = std::sqrt(-2 * std::log(generator->uniform())), angle = 6.283185307179586 * generator->uniform();
    double pair[2] = {radius * std::cos(angle), radius * std::sin(angle)};
    for (int j = 0; j < 2; j++) {
      double value = double(mean) + double(deviation) * pair[j];
      out[i + j] = T(exponential ? std::exp(value) : value);
    }
  }
  return OK;
}

}  // namespace

API Status curandGetVersion(int *version) { return *version = 10400, OK; }
API Status curandCreateGenerator(Generator **generator, int) { return *generator = new Generator, OK; }
API Status curandDestroyGenerator(Generator *generator) { return delete generator, OK; }
API Status curandSetStream(Generator *, void *) { return OK; }
API Status curandSetGeneratorOrdering(Generator *, int) { return OK; }
API Status curandSetPseudoRandomGeneratorSeed(Generator *generator, unsigned long long seed) {
  return generator->seed = seed, generator->position = 0, OK;
}
API Status curandSetGeneratorOffset(Generator *generator, unsigned long long offset) {
  return generator->position = offset, OK;
}
API Status curandGenerate(Generator *generator, uint32_t *out, size_t count) {
  return fill<uint32_t>(generator, out, count, [](Generator &g) { return uint32_t(g.next() >> 32); });
}
API Status curandGenerateLongLong(Generator *generator, uint64_t *out, size_t count) {
  return fill<uint64_t>(generator, out, count, [](Generator &g) { return g.next(); });
}
API Status curandGenerateUniform(Generator *generator, float *out, size_t count) {
  return fill<float>(generator, out, count, [](Generator &g) { return float((g.next() >> 40) + 1) * 0x1p-24f; });
}
API Status curandGenerateUniformDouble(Generator *generator, double *out, size_t count) {
  return fill<double>(generator, out, count, [](Generator &g) { return g.uniform(); });
}
API Status curandGenerateNormal(Generator *generator, float *out, size_t count, float mean, float deviation) {
  return normal(generator, out, count, mean, deviation, false);
}
API Status curandGenerateNormalDouble(Generator *generator, double *out, size_t count, double mean, double deviation) {
  return normal(generator, out, count, mean, deviation, false);
}
API Status curandGenerateLogNormal(Generator *generator, float *out, size_t count, float mean, float deviation) {
  return normal(generator, out, count, mean, deviation, true);
}
API Status curandGenerateLogNormalDouble(Generator *generator, double *out, size_t count, double mean, double deviation) {
  return normal(generator, out, count, mean, deviation, true);
}
