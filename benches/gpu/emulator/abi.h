// What a kernel's compiled library and the driver agree on: included by both, so that neither can drift.
#pragma once
#include <cstddef>

namespace kiln {

struct Index {
  unsigned x, y, z;
};

// Plain variables rather than thread-local ones: launches are serialised, and a kernel reads these all the time.
struct State {
  Index thread, block, block_dim, grid_dim;
};

struct Runtime {
  // Every thread of every block calls `body(arguments)` once.
  void (*run)(void (*body)(void *), void *arguments);
  // The line is what tells two barriers apart: the compiler may well duplicate the call's address.
  void (*barrier)(int line);
  // Waits until every lane in `mask` has come, and answers with the 32 lanes' values; a lane that does not exist holds ones.
  // They are to be read before the next call into the runtime.
  const unsigned long long *(*exchange)(int line, unsigned mask, unsigned long long value);
  unsigned (*lane)();
  // A pointer argument that is neither null nor inside an allocation is a mistake in the order of the arguments.
  void (*check)(int index, const void *pointer);
};

struct Module {
  State *state;
  const Runtime **runtime;
  unsigned char *shared;  // all `__shared__` arrays of the module
  size_t shared_size;
  unsigned char *dynamic;
  size_t dynamic_size;
};

using Launch = void (*)(void **arguments);

}  // namespace kiln
