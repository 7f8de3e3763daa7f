// Runs a grid on the CPU: block after block, the threads of a block as fibers on one stack each. A fiber that gets to the end
// of its thread goes on with the next one, so that a kernel without a barrier is a plain loop on one fiber.
#include <sys/mman.h>

#include <cstring>
#include <memory>
#include <vector>

#include "emulator.h"

// The callee-saved registers are all that a call may rely on. ucontext would save the signal mask, too: two system calls.
asm(R"(
.text
.globl kiln_switch
.hidden kiln_switch
.type kiln_switch,@function
kiln_switch:
  push %rbp
  push %rbx
  push %r12
  push %r13
  push %r14
  push %r15
  mov %rsp, (%rdi)
  mov %rsi, %rsp
  pop %r15
  pop %r14
  pop %r13
  pop %r12
  pop %rbx
  pop %rbp
  ret
)");
extern "C" void kiln_switch(void **save, void *load);

namespace {

using kiln::fatal;

constexpr size_t STACK = 128 << 10, GUARD = 4096;
constexpr unsigned WARP = 32;
constexpr unsigned char UNUSED = 0xFF, DYNAMIC_CANARY = 0xF7;

struct Fiber {
  void *stack_pointer = nullptr;
  unsigned char *stack;
  unsigned first = 0;
  Fiber() {
    stack = static_cast<unsigned char *>(
        mmap(nullptr, STACK + GUARD, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
    if (stack == MAP_FAILED) fatal("no memory for a thread's stack");
    mprotect(stack, GUARD, PROT_NONE);
  }
};

struct Exchange {
  unsigned mask, arrived = 0, pending = 0;
  int line;
  unsigned long long values[WARP];
};

enum class Status : unsigned char { Fresh, Running, Ready, Barrier, Exchanging, Done };

struct Thread {
  Status status;
  int line;
  Fiber *fiber;
  Exchange *exchange;
};

struct Warp {
  unsigned runnable;  // one bit per lane that is fresh or ready
  std::vector<Exchange *> open;
};

// One launch at a time.
const kiln::Module *module;
kiln::Shape shape;
void (*body)(void *);
void *arguments;
bool reverse;
unsigned count;        // threads in a block
unsigned now;          // the thread that runs
void *scheduler;
std::vector<Thread> threads;
std::vector<Warp> warps;
std::vector<std::unique_ptr<Fiber>> fibers;
std::vector<Fiber *> idle;
std::vector<std::unique_ptr<Exchange>> exchanges;
std::vector<Exchange *> unused;

unsigned lanes(unsigned warp) { return std::min(WARP, count - warp * WARP); }

void enter(unsigned thread) {
  now = thread;
  threads[thread].status = Status::Running;
  warps[thread / WARP].runnable &= ~(1u << thread % WARP);
  const kiln::Index &block = shape.block;
  // Most blocks are rows, and three divisions would be most of a short kernel's time.
  module->state->thread = block.x == count
                              ? kiln::Index{thread, 0, 0}
                              : kiln::Index{thread % block.x, thread / block.x % block.y, thread / block.x / block.y};
}

// The next lane in the order that is asked for, or none.
int next(unsigned runnable) {
  if (!runnable) return -1;
  return reverse ? 31 - __builtin_clz(runnable) : __builtin_ctz(runnable);
}

void work(Fiber *fiber) {
  for (;;) {
    unsigned thread = fiber->first;
    for (;;) {
      threads[thread].fiber = fiber;
      body(arguments);
      threads[thread].status = Status::Done;
      unsigned warp = thread / WARP;
      int lane = next(warps[warp].runnable);
      if (lane < 0 || threads[warp * WARP + lane].status != Status::Fresh) break;
      enter(thread = warp * WARP + lane);
    }
    idle.push_back(fiber);
    kiln_switch(&fiber->stack_pointer, scheduler);
  }
}

Fiber *current_for_start;
void start() { work(current_for_start); }

void resume(unsigned thread) {
  Thread &one = threads[thread];
  bool fresh = one.status == Status::Fresh;
  enter(thread);
  if (!fresh) return kiln_switch(&scheduler, one.fiber->stack_pointer);
  if (idle.empty()) {
    fibers.push_back(std::make_unique<Fiber>());
    idle.push_back(fibers.back().get());
  }
  Fiber *fiber = idle.back();
  idle.pop_back();
  fiber->first = thread;
  if (!fiber->stack_pointer) {
    // As if `start` had been called from address 0, with six registers to restore.
    auto **top = reinterpret_cast<void **>(fiber->stack + GUARD + STACK);
    *--top = nullptr;
    *--top = reinterpret_cast<void *>(&start);
    for (int i = 0; i < 6; i++) *--top = nullptr;
    fiber->stack_pointer = top;
  }
  current_for_start = fiber;
  kiln_switch(&scheduler, fiber->stack_pointer);
}

void wait(Status status, int line) {
  Thread &one = threads[now];
  unsigned thread = now;
  one.status = status;
  one.line = line;
  kiln_switch(&one.fiber->stack_pointer, scheduler);
  now = thread;
}

void run_warp(unsigned index) {
  Warp &warp = warps[index];
  for (int lane; (lane = next(warp.runnable)) >= 0;) resume(index * WARP + lane);
  for (Exchange *exchange : warp.open) {
    unsigned missing = exchange->mask & ~exchange->arrived;
    unsigned thread = index * WARP + __builtin_ctz(missing);
    fatal("kernel %s: lanes %08x wait at line %d for lanes %08x, the first of which %s (block %u %u %u, warp %u)",
          kiln::running.c_str(), exchange->arrived, exchange->line, missing,
          threads[thread].status == Status::Done ? "has returned" : "waits elsewhere", module->state->block.x,
          module->state->block.y, module->state->block.z, index);
  }
}

// True when the block is done.
bool pass_barrier() {
  unsigned waiting = 0, first = 0, done = 0;
  for (unsigned i = 0; i < count; i++) {
    if (threads[i].status == Status::Done) {
      done = i;
    } else if (!waiting++) {
      first = i;
    }
  }
  if (!waiting) return true;
  if (waiting != count)
    fatal("kernel %s: thread %u waits at __syncthreads in line %d, and thread %u has returned", kiln::running.c_str(),
          first, threads[first].line, done);
  for (unsigned i = 0; i < count; i++) {
    if (threads[i].line != threads[first].line)
      fatal("kernel %s: thread %u waits at __syncthreads in line %d, and thread %u in line %d", kiln::running.c_str(), first,
            threads[first].line, i, threads[i].line);
    threads[i].status = Status::Ready;
    warps[i / WARP].runnable |= 1u << i % WARP;
  }
  return false;
}

void run_block() {
  std::memset(module->shared, UNUSED, module->shared_size);
  std::memset(module->dynamic, UNUSED, shape.shared);
  unsigned char *end = module->dynamic + shape.shared;
  std::memset(end, DYNAMIC_CANARY, 256);
  for (Thread &one : threads) one.status = Status::Fresh;
  for (unsigned i = 0; i < warps.size(); i++) warps[i].runnable = lanes(i) == 32 ? ~0u : (1u << lanes(i)) - 1;
  do {
    for (unsigned i = 0; i < warps.size(); i++) run_warp(reverse ? warps.size() - 1 - i : i);
  } while (!pass_barrier());
  for (int i = 0; i < 256; i++)
    if (end[i] != DYNAMIC_CANARY)
      fatal("kernel %s wrote behind its %u bytes of dynamic shared memory", kiln::running.c_str(), shape.shared);
}

// Called from the kernel's library once it has unpacked the arguments.
void run(void (*each)(void *), void *with) {
  body = each;
  arguments = with;
  const kiln::Index &grid = shape.grid;
  unsigned long long blocks = 1ull * grid.x * grid.y * grid.z;
  for (unsigned long long i = 0; i < blocks; i++) {
    unsigned long long index = reverse ? blocks - 1 - i : i;
    module->state->block = {unsigned(index % grid.x), unsigned(index / grid.x % grid.y),
                            unsigned(index / grid.x / grid.y)};
    run_block();
  }
}

void barrier(int line) { wait(Status::Barrier, line); }

const unsigned long long *exchange(int line, unsigned mask, unsigned long long value) {
  unsigned index = now / WARP, lane = now % WARP;
  Warp &warp = warps[index];
  if (!(mask >> lane & 1))
    fatal("kernel %s, line %d: lane %u is not in its own mask %08x", kiln::running.c_str(), line, lane, mask);
  unsigned existing = lanes(index) == 32 ? ~0u : (1u << lanes(index)) - 1;
  mask &= existing;
  Exchange *mine = nullptr;
  for (Exchange *one : warp.open)
    if (one->mask == mask) mine = one;
  if (!mine) {
    if (unused.empty()) {
      exchanges.push_back(std::make_unique<Exchange>());
      unused.push_back(exchanges.back().get());
    }
    mine = unused.back();
    unused.pop_back();
    std::memset(mine->values, UNUSED, sizeof mine->values);
    mine->mask = mask, mine->arrived = 0, mine->line = line;
    warp.open.push_back(mine);
  }
  if (mine->line != line)
    fatal("kernel %s: lanes of one warp meet at line %d and at line %d", kiln::running.c_str(), mine->line, line);
  mine->values[lane] = value;
  mine->arrived |= 1u << lane;
  if (mine->arrived == mask) {
    for (size_t i = 0; i < warp.open.size(); i++)
      if (warp.open[i] == mine) warp.open.erase(warp.open.begin() + i--);
    mine->pending = mask;
    unsigned others = mask & ~(1u << lane);
    for (unsigned rest = others; rest; rest &= rest - 1) threads[index * WARP + __builtin_ctz(rest)].status = Status::Ready;
    warp.runnable |= others;
  } else {
    threads[now].exchange = mine;
    wait(Status::Exchanging, line);
    mine = threads[now].exchange;
  }
  mine->pending &= ~(1u << lane);
  if (!mine->pending) unused.push_back(mine);
  return mine->values;
}

unsigned lane() { return now % WARP; }

const kiln::Runtime runtime = {run, barrier, exchange, lane, kiln::check_pointer};

}  // namespace

namespace kiln {

void run_grid(const Module &which, const Shape &of, Launch launch, void **values) {
  module = &which;
  shape = of;
  reverse = setting("KILN_EMULATED_SHUFFLE");
  count = shape.block.x * shape.block.y * shape.block.z;
  threads.assign(count, {});
  warps.resize((count + WARP - 1) / WARP);
  *which.runtime = &runtime;
  which.state->block_dim = shape.block;
  which.state->grid_dim = shape.grid;
  launch(values);
}

}  // namespace kiln
