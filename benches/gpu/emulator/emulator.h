// What the driver's parts know of each other.
#pragma once
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>

#include "abi.h"

#define API extern "C" __attribute__((visibility("default")))

enum Result : int {
  SUCCESS = 0,
  INVALID_VALUE = 1,
  OUT_OF_MEMORY = 2,
  NOT_INITIALIZED = 3,
  INVALID_DEVICE = 101,
  INVALID_IMAGE = 200,
  INVALID_CONTEXT = 201,
  INVALID_HANDLE = 400,
  NOT_FOUND = 500,
  LAUNCH_OUT_OF_RESOURCES = 701,
  NOT_SUPPORTED = 801,
};

namespace kiln {

// A mistake that a GPU would answer with silence, wrong numbers or a hang: no way to go on from here.
template <class... A>
[[noreturn]] void fatal(const char *format, A... arguments) {
  std::fprintf(stderr, "emulated GPU: ");
  std::fprintf(stderr, format, arguments...);
  std::fprintf(stderr, "\n");
  std::abort();
}

struct Shape {
  Index grid, block;
  unsigned shared;
};

// What the kernel that runs now is called, for messages.
extern std::string running;

// memory.cpp
void check_canaries(const char *when);
void check_pointer(int index, const void *pointer);

// fibers.cpp
void run_grid(const Module &module, const Shape &shape, Launch launch, void **arguments);

// candle.h and its kernels: null where there is no kernel of this name.
Launch candle_kernel(const std::string &name);

// driver.cpp
void count_launch();
void count_sync();

inline bool setting(const char *name) {
  const char *value = std::getenv(name);
  return value && *value && *value != '0';
}

}  // namespace kiln
