// Runs the threads of CUDA kernels on a CPU, for tests: block after block, the threads of a block in turn.
//
// A thread that waits (for its block, or for its warp to vote or exchange) gives way to the next one, each on a stack
// of its own; threads that never wait share one. The order is fixed, or the reverse: where a result depends on it, a
// barrier is missing. What never comes about is reported: threads that wait for ones that have ended, or elsewhere.
#include <setjmp.h>
#include <ucontext.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <vector>

#include "emulator/device.h"

#if defined(__SANITIZE_ADDRESS__)
#include <sanitizer/common_interface_defs.h>
#endif

EmulatorState emulator_state;

namespace {

enum class Wait { none, block, warp, done };

constexpr std::size_t STACK = 256 * 1024;
constexpr unsigned WARP = 32;

// Begun by a context; from then on jumps lead in and out, which unlike contexts ask nothing of the system.
struct Fiber {
    ucontext_t context;
    jmp_buf place;
    bool begun = false;
    std::unique_ptr<char[]> stack{new char[STACK]};
    void* hidden = nullptr;  // AddressSanitizer's own stack for this one
};

struct Thread {
    Fiber* fiber = nullptr;
    Wait wait = Wait::none;
};

struct Machine {
    std::vector<std::unique_ptr<Fiber>> fibers;
    std::vector<Fiber*> idle;
    std::vector<Thread> threads;
    std::vector<EmulatorLane> brought;
    jmp_buf scheduler;
    void* hidden = nullptr;
    const void* bottom = nullptr;  // of the scheduler's stack
    std::size_t size = 0;
    unsigned current = 0;
    void (*kernel)(const void*) = nullptr;
    const void* call = nullptr;
    std::unique_ptr<unsigned char[]> shared;
    bool failed = false;
    char message[200];
};

Machine machine;

void fail(const char* what) {
    if (!machine.failed) {
        const EmulatorIndex& b = emulator_state.block;
        std::snprintf(machine.message, sizeof machine.message, "block %u, %u: %s", b.x, b.y, what);
    }
    machine.failed = true;
}

// AddressSanitizer is told which stack comes next, and on that one that it has come.
void leaving(void** hidden, const void* bottom, std::size_t size) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_start_switch_fiber(hidden, bottom, size);
#else
    (void)hidden, (void)bottom, (void)size;
#endif
}
void arrived(void* hidden, const void** from, std::size_t* size) {
#if defined(__SANITIZE_ADDRESS__)
    __sanitizer_finish_switch_fiber(hidden, from, size);
#else
    (void)hidden, (void)from, (void)size;
#endif
}

// Gives way until what the thread waits for has come about.
void wait_for(Wait what) {
    Thread& self = machine.threads[machine.current];
    self.wait = what;
    Fiber* fiber = self.fiber;
    leaving(&fiber->hidden, machine.bottom, machine.size);
    if (_setjmp(fiber->place) == 0) {
        _longjmp(machine.scheduler, 1);
    }
    arrived(machine.threads[machine.current].fiber->hidden, &machine.bottom, &machine.size);
}

void enter() {
    arrived(nullptr, &machine.bottom, &machine.size);
    for (;;) {
        machine.kernel(machine.call);
        // the next thread that begins may begin here
        wait_for(Wait::done);
    }
}

// Apart from its caller, whose variables would be in registers that the saved context does not have.
void prepare(Fiber& fiber) {
    getcontext(&fiber.context);
    fiber.context.uc_stack.ss_sp = fiber.stack.get();
    fiber.context.uc_stack.ss_size = STACK;
    fiber.context.uc_link = nullptr;
    makecontext(&fiber.context, enter, 0);
}

Fiber* begin() {
    if (!machine.idle.empty()) {
        Fiber* fiber = machine.idle.back();
        machine.idle.pop_back();
        return fiber;
    }
    machine.fibers.emplace_back(new Fiber);
    prepare(*machine.fibers.back());
    return machine.fibers.back().get();
}

// Back when the fiber gives way. Apart from its caller, like `prepare`.
__attribute__((noinline)) void resume(Fiber& fiber) {
    leaving(&machine.hidden, fiber.stack.get(), STACK);
    if (_setjmp(machine.scheduler) == 0) {
        if (fiber.begun) {
            _longjmp(fiber.place, 1);
        }
        fiber.begun = true;
        setcontext(&fiber.context);
    }
    arrived(machine.hidden, nullptr, nullptr);
}

void go_on(unsigned i) {
    Thread& thread = machine.threads[i];
    machine.current = i;
    const EmulatorIndex& size = emulator_state.block_size;
    emulator_state.thread = {i % size.x, i / size.x % size.y, i / (size.x * size.y)};
    if (!thread.fiber) {
        thread.fiber = begin();
    }
    resume(*thread.fiber);
    if (thread.wait == Wait::done) {
        machine.idle.push_back(thread.fiber);
    }
}

// Lets the threads [first, last) go on if all that are not done wait for `what`; false where some do not.
bool release(unsigned first, unsigned last, Wait what) {
    bool any = false;
    for (unsigned i = first; i < last; ++i) {
        any |= machine.threads[i].wait == what;
        if (machine.threads[i].wait != what) {
            if (machine.threads[i].wait == Wait::done) {
                continue;
            }
            return false;
        }
    }
    for (unsigned i = first; i < last; ++i) {
        if (any && machine.threads[i].wait == Wait::done) {
            fail("a thread has ended that others wait for");
        }
        if (machine.threads[i].wait == what) {
            machine.threads[i].wait = Wait::none;
        }
    }
    return any;
}

void run_block(unsigned n, bool reverse) {
    machine.threads.assign(n, Thread{});
    machine.brought.assign((n + WARP - 1) / WARP * WARP, EmulatorLane{});
    for (;;) {
        bool ran = false, done = true;
        for (unsigned j = 0; j < n; ++j) {
            const unsigned i = reverse ? n - 1 - j : j;
            if (machine.threads[i].wait == Wait::none) {
                go_on(i);
                ran = true;
            }
            done &= machine.threads[i].wait == Wait::done;
        }
        if (done) {
            return;
        }
        for (unsigned first = 0; first < n; first += WARP) {
            ran |= release(first, first + WARP < n ? first + WARP : n, Wait::warp);
        }
        ran |= release(0, n, Wait::block);
        if (!ran) {
            fail("threads wait at different places");
        }
        if (machine.failed) {
            // stacks that are in the middle of something cannot begin anew
            machine.fibers.clear();
            machine.idle.clear();
            return;
        }
    }
}

}  // namespace

extern "C" {

void* emulator_shared() {
    return machine.shared.get();
}

void emulator_block_barrier() {
    wait_for(Wait::block);
}

void emulator_warp_barrier() {
    wait_for(Wait::warp);
}

const EmulatorLane* emulator_bring(const uint32_t* values, int n) {
    std::memcpy(machine.brought[machine.current].value, values, static_cast<std::size_t>(n) * sizeof *values);
    wait_for(Wait::warp);
    return &machine.brought[machine.current / WARP * WARP];
}

void emulator_leave() {
    // nobody may bring something new before all have looked
    wait_for(Wait::warp);
}

// Runs a kernel; null, or what went wrong.
const char* emulator_launch(void (*kernel)(const void*), const void* call, const uint32_t* grid, uint32_t threads,
                            std::size_t shared, int reverse) {
    machine.kernel = kernel;
    machine.call = call;
    machine.failed = false;
    emulator_state.block_size = {threads, 1, 1};
    emulator_state.grid_size = {grid[0], grid[1], grid[2]};
    for (uint32_t z = 0; z < grid[2]; ++z) {
        for (uint32_t y = 0; y < grid[1]; ++y) {
            for (uint32_t x = 0; x < grid[0] && !machine.failed; ++x) {
                emulator_state.block = {x, y, z};
                // as long as was asked for, and new: nothing is left of the last block
                machine.shared.reset(new unsigned char[shared]);
                std::memset(machine.shared.get(), 0xa5, shared);
                run_block(threads, reverse != 0);
            }
        }
    }
    machine.shared.reset();
    return machine.failed ? machine.message : nullptr;
}
}
