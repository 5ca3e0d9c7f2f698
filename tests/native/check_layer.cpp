// The event-driven layer against a simulation written out, without Python: for processors that only an emulator has.
#include <cstdint>
#include <cstdio>
#include <random>
#include <vector>

#include "common/kernels.h"
#include "layer/plan.h"

using fastsnn::Number;
using fastsnn::Way;
using i64 = std::int64_t;

namespace {

// A 3x3 convolution, stride 1 or 2, padding 1, of `C` to `O` channels: whether every spike and potential agrees.
template <class Value, class Word>
bool agrees(const fastsnn::Kernels& kernels, Number number, i64 H, i64 W, i64 C, i64 O, i64 stride, i64 groups, i64 T,
            Value theta, int range, int vectors, Way way) {
    std::mt19937 random(static_cast<unsigned>(H + 31 * W + 57 * C + 91 * O + T));
    const i64 per_group = C / groups, h = (H - 1) / stride + 1, w = (W - 1) / stride + 1;
    std::vector<Word> words(static_cast<std::size_t>(H * W * C)), out(static_cast<std::size_t>(h * w * O));
    std::vector<Value> weight(static_cast<std::size_t>(O * per_group * 9)), after(out.size());
    for (auto& word : words) {
        word = static_cast<Word>(random() & random());
    }
    for (auto& x : weight) {
        x = static_cast<Value>((static_cast<int>(random() % 17) - 7) * range);
    }
    fastsnn::TermSpec term{{1, H, W}, C, groups, {1, 3, 3}, {1, stride, stride}, {0, 1, 1}, {1, 1, 1}, weight.data()};
    const i64 sizes[3] = {1, h, w};
    const fastsnn::Plan plan(kernels, number, {term}, sizes, O, false, false, 0, 0, vectors, way);
    const Value start = theta / 2;
    fastsnn::Call call{};
    call.words[0] = words.data();
    call.word_bytes[0] = sizeof(Word);
    call.batch = 1;
    call.T = T;
    call.v.data = &start;
    call.threshold.data = &theta;
    call.out = out.data();
    call.out_bytes = sizeof(Word);
    call.v_out = after.data();
    plan.run(call, 1);

    const i64 limit = sizeof(Value) == 2 ? 1 << 14 : 1 << 30;
    for (i64 y = 0; y < h; ++y) {
        for (i64 x = 0; x < w; ++x) {
            for (i64 o = 0; o < O; ++o) {
                i64 v = start;
                std::uint32_t spikes = 0;
                for (i64 t = 0; t < T; ++t) {
                    for (i64 k = 0; k < 9 * per_group; ++k) {
                        const i64 c = k / 9, iy = y * stride + k % 9 / 3 - 1, ix = x * stride + k % 3 - 1;
                        if (iy >= 0 && iy < H && ix >= 0 && ix < W) {
                            const i64 from = (iy * W + ix) * C + o / (O / groups) * per_group + c;
                            const i64 spike = words[static_cast<std::size_t>(from)] >> t & 1;
                            v += spike * weight[static_cast<std::size_t>(o * per_group * 9 + k)];
                        }
                    }
                    v = static_cast<Value>(v);
                    if (v >= theta) {
                        spikes |= 1u << t;
                        v -= theta;
                    }
                    v = v > limit ? limit : v < -limit ? -limit : v;
                }
                const std::size_t at = static_cast<std::size_t>((y * w + x) * O + o);
                if (out[at] != static_cast<Word>(spikes) || after[at] != v) {
                    std::printf("%s: H=%d W=%d C=%d O=%d T=%d vectors=%d differs at y=%d x=%d o=%d\n", kernels.name,
                                int(H), int(W), int(C), int(O), int(T), vectors, int(y), int(x), int(o));
                    return false;
                }
            }
        }
    }
    return true;
}

}  // namespace

int main() {
    bool good = true;
    int cases = 0;
    const auto& kernels = fastsnn::baseline;
    for (int vectors : {0, 1, 2, 4, 8}) {
        for (Way way : {Way::chosen, Way::lists, Way::streams}) {
            for (i64 C : {1, 6, 66}) {
                for (i64 O : {2, 18, 70}) {
                    for (i64 stride : {1, 2}) {
                        const i64 groups = C == 6 && O == 18 ? 2 : 1;
                        good &= agrees<std::int32_t, std::uint16_t>(kernels, Number::i32, 5, 7, C, O, stride, groups,
                                                                    16, 1 << 24, 1 << 20, vectors, way);
                        good &= agrees<std::int16_t, std::uint32_t>(kernels, Number::i16, 4, 5, C, O, stride, groups,
                                                                    31, 4096, 100, vectors, way);
                        good &= agrees<std::int16_t, std::uint8_t>(kernels, Number::i16, 4, 3, C, O, stride, groups, 8,
                                                                   4096, 100, vectors, way);
                        cases += 3;
                    }
                }
            }
        }
    }
    std::printf("%d cases, %s\n", cases, good ? "all equal" : "differences");
    return good ? 0 : 1;
}
