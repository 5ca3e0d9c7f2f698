// A layer on the tensor cores: convolutions of packed spikes as matrix products, and the neurons that they feed.
//
// The rows of a product are (position, step): a block takes ROWS of them and COLUMNS outputs, DEPTH bytes of the sum at
// a time. Words are opened to one bit a step on their way into the operands; weights are read once for all steps.
// Weights of 16 and 32 bits are planes of signed 8-bit digits: the sums of the highest plane, shifted, go on with the
// next. At the end each warp turns its sums around in shared memory, so that a lane has all steps of a neuron.
#include "layer/mma.cuh"
#include "layer/neurons.cuh"

namespace fastsnn {
namespace device {
namespace {

constexpr int MULTIPLIERS = 256, ROWS = 128, COLUMNS = 128, DEPTH = 64;
// of a warp
constexpr int WARP_ROWS = 32, WARP_COLUMNS = 64;
// bytes from one row of weights to the next, and numbers from one row of sums: neighbours begin in other banks
constexpr int WEIGHT_PITCH = DEPTH + 16, SUM_PITCH = 33;

// The word that holds so many steps.
template <int STEPS>
struct WordOf {
    typedef uint32_t type;
};
template <>
struct WordOf<8> {
    typedef uint8_t type;
};
template <>
struct WordOf<16> {
    typedef uint16_t type;
};

// Which part of the sum comes next.
struct Slice {
    int plane, input, tap, first;
};

// W: what the products are of, int8_t or 16-bit floats.
template <class W, int STEPS>
struct Stage {
    typedef typename WordOf<STEPS>::type Word;
    static constexpr int NUMBERS = DEPTH / sizeof(W), POSITIONS = ROWS / STEPS;
    // what a thread brings: words that follow each other, and pieces of 16 bytes of weights
    static constexpr int WORDS = POSITIONS * NUMBERS / MULTIPLIERS > 1 ? POSITIONS * NUMBERS / MULTIPLIERS : 1;
    static constexpr int PIECES = COLUMNS * DEPTH / 16 / MULTIPLIERS;
    typedef typename Piece<16>::type Bytes;

    alignas(16) unsigned char weight[COLUMNS * WEIGHT_PITCH];
    alignas(16) Word word[POSITIONS * NUMBERS];
};

// What a thread brings to stages: from where it reads, and what is on its way.
template <class W, int STEPS>
struct Source {
    typedef Stage<W, STEPS> To;
    Place at;      // of the position whose words it brings
    bool some;     // whether there is one
    int output;    // the first of the block's
    int64_t from;  // the word at the tap, or -1 outside
    const unsigned char* rows;
    int rows_apart;
    typename To::Word word[To::WORDS];
    typename To::Bytes weight[To::PIECES];

    // Turns to the tap of a slice.
    FASTSNN_DEVICE void aim(const LayerCall& call, const Slice& s, int group) {
        const Window& w = call.window[s.input];
        const Reading reading = reading_of(w, at, s.tap);
        const bool there = some && reading.position >= 0;
        from = there ? reading.position * call.pitch[s.input] + int64_t(group) * w.channels : -1;
        const int tap_bytes = (w.channels + To::NUMBERS - 1) / To::NUMBERS * DEPTH;
        rows_apart = reading.taps * tap_bytes;
        const int64_t row_number = (int64_t(s.plane) * call.groups + group) * call.outputs + output + piece(0) / LINE;
        rows = static_cast<const unsigned char*>(call.weights[s.input]) + row_number * rows_apart +
               reading.number * tap_bytes + piece(0) % LINE * 16;
    }

    // Sets out for a slice of the tap that it is turned to.
    FASTSNN_DEVICE void fetch(const LayerCall& call, const Slice& s) {
        const int channel = s.first + static_cast<int>(threadIdx.x) * To::WORDS % To::NUMBERS;
#pragma unroll
        for (int i = 0; i < To::WORDS; ++i) {
            const bool there = from >= 0 && channel + i < call.window[s.input].channels;
            word[i] = there ? static_cast<typename To::Word>(
                                  word_at(call.words[s.input], call.word_bytes[s.input], from + channel + i))
                            : 0;
        }
        const unsigned char* place = rows + s.first * static_cast<int>(sizeof(W));
#pragma unroll
        for (int i = 0; i < To::PIECES; ++i) {
            weight[i] = {};
            if (output + piece(i) / LINE < call.outputs) {
                weight[i] = *reinterpret_cast<const typename To::Bytes*>(place + int64_t(i) * BETWEEN * rows_apart);
            }
        }
    }

    // Pieces of 16 bytes of weights: how many are one row, how many rows there are between those of one thread.
    static constexpr int LINE = DEPTH / 16, BETWEEN = MULTIPLIERS / LINE;
    static FASTSNN_DEVICE int piece(int i) {
        return static_cast<int>(threadIdx.x) + i * MULTIPLIERS;
    }

    FASTSNN_DEVICE void put(To& to) const {
        const int first = static_cast<int>(threadIdx.x) * To::WORDS;
        if (first < To::POSITIONS * To::NUMBERS) {
            store<To::WORDS>(to.word + first, word);
        }
#pragma unroll
        for (int i = 0; i < To::PIECES; ++i) {
            unsigned char* place = to.weight + piece(i) / LINE * WEIGHT_PITCH + piece(i) % LINE * 16;
            *reinterpret_cast<typename To::Bytes*>(place) = weight[i];
        }
    }
};

// Moves on; false behind the last slice.
template <int NUMBERS>
FASTSNN_DEVICE bool next(const LayerCall& call, Slice& s) {
    const Window& w = call.window[s.input];
    s.first += NUMBERS;
    if (s.first < w.channels) {
        return true;
    }
    s.first = 0;
    if (++s.tap < w.kernel[0] * w.kernel[1] * w.kernel[2]) {
        return true;
    }
    s.tap = 0;
    if (++s.input < call.events) {
        return true;
    }
    s.input = 0;
    return ++s.plane < call.planes;
}

// Adds a stage's products: of a warp, two times 16 rows by eight times 8 columns.
template <class W, class Sum, int STEPS>
FASTSNN_DEVICE void multiply_stage(const Stage<W, STEPS>& stage, int rows, int columns, Sum (&sums)[2][8][4]) {
    typedef Stage<W, STEPS> S;
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int deep = 0; deep < DEPTH; deep += 32) {
        uint32_t spikes[2][4];
#pragma unroll
        for (int half = 0; half < 2; ++half) {
#pragma unroll
            for (int r = 0; r < 4; ++r) {
                const int row = rows + 16 * half + lane / 4 + 8 * (r % 2);
                const int number = (deep + 16 * (r / 2) + 4 * (lane % 4)) / static_cast<int>(sizeof(W));
                spikes[half][r] = spikes_of(stage.word + row / STEPS * S::NUMBERS + number, row % STEPS, W{});
            }
        }
#pragma unroll
        for (int pair = 0; pair < 4; ++pair) {
            uint32_t weights[4];
            const int column = columns + 16 * pair + lane / 16 * 8 + lane % 8;
            load_blocks(weights, stage.weight + column * WEIGHT_PITCH + deep + lane / 8 % 2 * 16);
#pragma unroll
            for (int half = 0; half < 2; ++half) {
                multiply(sums[half][2 * pair], spikes[half], weights, W{});
                multiply(sums[half][2 * pair + 1], spikes[half], weights + 2, W{});
            }
        }
    }
}

// Turns 32 columns of a warp's sums around, and runs the neurons of one column a lane.
template <class E, class Sum, class Out, int STEPS, class Call>
FASTSNN_DEVICE void finish(const Call& call, Sum* room, int64_t first, int64_t channel, int output, int part,
                           const Sum (&sums)[2][8][4]) {
    const int lane = threadIdx.x % 32;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
#pragma unroll
        for (int tile = 0; tile < 4; ++tile) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const int row = 16 * half + lane / 4 + 8 * (i / 2), column = 8 * tile + 2 * (lane % 4) + i % 2;
                room[row * SUM_PITCH + column] = sums[half][4 * part + tile][i];
            }
        }
    }
    __syncwarp();
    for (int p = 0; p < WARP_ROWS / STEPS; ++p) {
        const int64_t position = first + p;
        if (position < call.positions && output + lane < call.outputs) {
            Sum column[STEPS][1];
#pragma unroll
            for (int t = 0; t < STEPS; ++t) {
                column[t][0] = room[(p * STEPS + t) * SUM_PITCH + lane];
            }
            for (int i = 0; i < call.looks; ++i) {
                look(call, call.events + i, place_of(position, call.size), channel + lane, 1, column);
            }
            fire<E, Sum, Out>(call, position, channel + lane, 1, column);
        }
    }
    __syncwarp();
}

template <class W, class E, class Sum, class Out, int STEPS, class Call>
FASTSNN_DEVICE void products(const Call& call) {
    typedef Stage<W, STEPS> S;
    FASTSNN_SHARED(bytes);
    S* stages = reinterpret_cast<S*>(bytes);
    const int warp = threadIdx.x / 32, rows = warp % (ROWS / WARP_ROWS) * WARP_ROWS;
    const int columns = warp / (ROWS / WARP_ROWS) * WARP_COLUMNS;
    const int64_t across = (call.positions + S::POSITIONS - 1) / S::POSITIONS;
    const int blocks = (call.outputs + COLUMNS - 1) / COLUMNS;
    for (int64_t tile = blockIdx.x; tile < across * blocks * call.groups; tile += gridDim.x) {
        const Division which = divide(tile, across);
        const int group = static_cast<int>(which.quotient) / blocks;
        const int output = static_cast<int>(which.quotient) % blocks * COLUMNS;
        const int64_t first = which.rest * S::POSITIONS;
        // of the words that this thread brings
        const int64_t mine = first + static_cast<int>(threadIdx.x) * S::WORDS / S::NUMBERS;
        const bool some = static_cast<int>(threadIdx.x) * S::WORDS < S::POSITIONS * S::NUMBERS && mine < call.positions;
        Source<W, STEPS> source;
        source.at = place_of(some ? mine : 0, call.size);
        source.some = some;
        source.output = output;
        Sum sums[2][8][4] = {};
        Slice slice = {};
        source.aim(call, slice, group);
        source.fetch(call, slice);
        // the sums of the last tile have left the memory that stages begin in
        __syncthreads();
        source.put(stages[0]);
        __syncthreads();
        for (int n = 0, plane = 0; n < call.slices; ++n) {
            if (slice.plane != plane) {
                plane = slice.plane;
#pragma unroll
                for (int i = 0; i < 64; ++i) {
                    Sum& sum = sums[i / 32][i / 4 % 8][i % 4];
                    sum = static_cast<Sum>(static_cast<typename Unsigned<Sum>::type>(sum) * 256);
                }
            }
            const bool more = next<S::NUMBERS>(call, slice);
            if (more) {
                if (slice.first == 0) {
                    source.aim(call, slice, group);
                }
                source.fetch(call, slice);
            }
            multiply_stage<W, Sum, STEPS>(stages[n % 2], rows, columns, sums);
            if (more) {
                source.put(stages[(n + 1) % 2]);
            }
            __syncthreads();
        }
        Sum* room = reinterpret_cast<Sum*>(bytes) + warp * WARP_ROWS * SUM_PITCH;
        const int64_t channel = int64_t(group) * call.outputs;
#pragma unroll
        for (int part = 0; part < 2; ++part) {
            const int o = output + columns + 32 * part;
            finish<E, Sum, Out, STEPS>(call, room, first + rows / STEPS, channel + o, o, part, sums);
        }
    }
}

}  // namespace
}  // namespace device
}  // namespace fastsnn
