// Modules, their functions, and what the real driver checks before it launches one.
#include <dlfcn.h>
#include <signal.h>
#include <unistd.h>

#include <cstring>
#include <map>
#include <memory>

#include "emulator.h"

namespace kiln {
std::string running;
}

namespace {

// What nvrtc.cpp begins its "PTX" with. Everything else, an empty image as well as real PTX, is taken for one of candle's own
// modules, whose kernels candle.h has by name.
const char MARK[] = "//kiln-emulated ";

constexpr unsigned SHARED = 49152, SHARED_OPT_IN = 232448;

struct Function {
  std::string name;
  kiln::Launch launch;
  const kiln::Module *module;  // null for candle's
  int bounds = 1024;
  int dynamic = SHARED;
};

struct Loaded {
  void *library = nullptr;
  std::map<std::string, std::unique_ptr<Function>> functions;
};

std::mutex lock;     // the modules' functions
std::mutex serial;   // one launch at a time

// Says which kernel it was when one reads or writes where no memory is at all, or divides an integer by zero, and leaves the
// rest to whoever handled the signal before.
class Faults {
 public:
  explicit Faults(const Function *function) {
    running = function;
    struct sigaction mine = {};
    mine.sa_sigaction = report;
    mine.sa_flags = SA_SIGINFO | SA_ONSTACK;
    for (size_t i = 0; i < COUNT; i++) sigaction(SIGNALS[i], &mine, &before[i]);
  }
  ~Faults() {
    for (size_t i = 0; i < COUNT; i++) sigaction(SIGNALS[i], &before[i], nullptr);
    running = nullptr;
  }

 private:
  static constexpr size_t COUNT = 3;
  static constexpr int SIGNALS[COUNT] = {SIGSEGV, SIGBUS, SIGFPE};
  static struct sigaction before[COUNT];
  static thread_local const Function *running;

  static void report(int signal, siginfo_t *info, void *) {
    if (running) {
      kiln::Index block{}, thread{};
      if (running->module) block = running->module->state->block, thread = running->module->state->thread;
      char text[300];
      int size = snprintf(text, sizeof text, "emulated GPU: kernel %s, block %u %u %u, thread %u %u %u: %s %p\n",
                          running->name.c_str(), block.x, block.y, block.z, thread.x, thread.y, thread.z,
                          signal == SIGFPE ? "an integer divided by zero at" : "there is no memory at", info->si_addr);
      if (write(2, text, size) < 0) _exit(1);
    }
    for (size_t i = 0; i < COUNT; i++)
      if (SIGNALS[i] == signal) sigaction(signal, &before[i], nullptr);
  }
};
struct sigaction Faults::before[Faults::COUNT];
thread_local const Function *Faults::running = nullptr;

}  // namespace

API Result cuModuleLoadData(Loaded **out, const char *image) {
  auto loaded = std::make_unique<Loaded>();
  if (!std::strncmp(image, MARK, sizeof MARK - 1)) {
    std::string path(image + sizeof MARK - 1);
    path.resize(path.find_first_of("\r\n"));
    loaded->library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
    if (!loaded->library) return std::fprintf(stderr, "emulated GPU: %s\n", dlerror()), INVALID_IMAGE;
  }
  return *out = loaded.release(), SUCCESS;
}
API Result cuModuleLoadDataEx(Loaded **out, const char *image, unsigned, void *, void *) {
  return cuModuleLoadData(out, image);
}
// The library stays: another module may have been loaded from it.
API Result cuModuleUnload(Loaded *loaded) { return delete loaded, SUCCESS; }
API Result cuModuleGetGlobal_v2(uintptr_t *, size_t *, Loaded *, const char *) { return NOT_FOUND; }

API Result cuModuleGetFunction(Function **out, Loaded *loaded, const char *name) {
  std::lock_guard<std::mutex> guard(lock);
  auto &entry = loaded->functions[name];
  if (!entry) {
    auto function = std::make_unique<Function>();
    function->name = name;
    if (loaded->library) {
      auto symbol = [&](const char *suffix) { return dlsym(loaded->library, (function->name + suffix).c_str()); };
      function->module = static_cast<const kiln::Module *>(dlsym(loaded->library, "kiln_module"));
      function->launch = reinterpret_cast<kiln::Launch>(symbol("__launch"));
      if (auto *bounds = static_cast<const int *>(symbol("__bounds"))) function->bounds = *bounds;
    } else {
      function->module = nullptr;
      function->launch = kiln::candle_kernel(name);
    }
    if (!function->launch)
      return std::fprintf(stderr, "emulated GPU: there is no kernel '%s' here\n", name), NOT_FOUND;
    entry = std::move(function);
  }
  return *out = entry.get(), SUCCESS;
}

API Result cuFuncGetAttribute(int *out, int attribute, Function *function) {
  switch (attribute) {
    case 0: *out = function->bounds; break;  // threads per block
    case 1: *out = function->module ? int(function->module->shared_size) : 0; break;
    case 4: *out = 32; break;                // registers
    case 5: case 6: *out = 90; break;
    case 8: *out = function->dynamic; break;
    default: *out = 0;
  }
  return SUCCESS;
}
API Result cuFuncSetAttribute(Function *function, int attribute, int value) {
  if (attribute == 8) {
    if (value < 0 || unsigned(value) > SHARED_OPT_IN) return INVALID_VALUE;
    function->dynamic = value;
  }
  return SUCCESS;
}
API Result cuFuncSetCacheConfig(Function *, int) { return SUCCESS; }
API Result cuOccupancyMaxActiveBlocksPerMultiprocessor(int *out, Function *function, int block, size_t shared) {
  if (block < 1 || block > function->bounds) return INVALID_VALUE;
  int by_threads = 2048 / block, by_shared = shared ? int(233472 / (shared + 1024)) : 32;
  return *out = std::min(32, std::min(by_threads, by_shared)), SUCCESS;
}
API Result cuOccupancyMaxActiveBlocksPerMultiprocessorWithFlags(int *out, Function *function, int block, size_t shared,
                                                                unsigned) {
  return cuOccupancyMaxActiveBlocksPerMultiprocessor(out, function, block, shared);
}
API Result cuOccupancyMaxPotentialBlockSize(int *grid, int *block, Function *function, size_t (*)(int), size_t, int limit) {
  *block = limit > 0 ? std::min(limit, function->bounds) : function->bounds;
  return *grid = 132 * (2048 / *block), SUCCESS;
}

API Result cuLaunchKernel(Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z, unsigned block_x,
                          unsigned block_y, unsigned block_z, unsigned shared, void *, void **arguments, void **extra) {
  if (!function) return INVALID_HANDLE;
  if (extra) return NOT_SUPPORTED;
  if (!grid_x || !grid_y || !grid_z || !block_x || !block_y || !block_z) return INVALID_VALUE;
  if (grid_x > 2147483647u || grid_y > 65535 || grid_z > 65535) return INVALID_VALUE;
  if (block_x > 1024 || block_y > 1024 || block_z > 64) return INVALID_VALUE;
  unsigned threads = block_x * block_y * block_z;
  if (threads > 1024) return INVALID_VALUE;
  if (threads > unsigned(function->bounds)) return LAUNCH_OUT_OF_RESOURCES;
  if (shared > unsigned(function->dynamic)) return INVALID_VALUE;
  std::lock_guard<std::mutex> guard(serial);
  kiln::count_launch();
  kiln::running = function->name;
  Faults faults(function);
  if (function->module) {
    kiln::Shape shape{{grid_x, grid_y, grid_z}, {block_x, block_y, block_z}, shared};
    kiln::run_grid(*function->module, shape, function->launch, arguments);
  } else {
    function->launch(arguments);
  }
  // At each launch rather than when memory is freed: slower, but it names the kernel.
  if (kiln::setting("KILN_EMULATED_CHECK")) kiln::check_canaries(("after kernel " + function->name).c_str());
  return SUCCESS;
}
API Result cuLaunchCooperativeKernel(Function *, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, unsigned, void *,
                                     void **) {
  return NOT_SUPPORTED;  // blocks run one after another, and so cannot wait for each other
}
