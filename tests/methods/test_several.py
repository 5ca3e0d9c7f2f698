"""Methods of several spikes a step, or of signed ones: what theorems say of them, exactly; and what they refuse."""

import pytest
import torch
from methods.test_srp_parallel import Net, images, quantised
from torch import nn

import fastsnn
from fastsnn.errors import ConversionError
from fastsnn.firing import levels, powers, taken_back
from fastsnn.methods import METHODS, build
from fastsnn.methods.several import Several
from fastsnn.neurons import Graded
from fastsnn.ops.if_constant import if_constant
from fastsnn.ops.if_steps import if_steps
from fastsnn.ops.pack import pack
from fastsnn.ops.pool import pool_lateral
from fastsnn.program.axes import channels_last
from fastsnn.program.fixed import fixed_input
from fastsnn.windows import window_index

THETA = 2**16
# of those in fixed point: tests/methods/test_msat.py has the others
SEVERAL = [name for name in METHODS if isinstance(build(name), Several) and not build(name).neuron.floating]


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Net().eval()


def currents(T, n=4000, scale=1.2, seed=0):
    g = torch.Generator().manual_seed(seed)
    return ((torch.rand(T, n, generator=g) * 2 - 0.8) * scale * THETA).int()


def emitted(words, neuron, T):
    """What neurons emit at each step: int64 [T, *N]."""
    planes = words if len(neuron.planes) > 1 else words[None]
    bits = torch.stack([torch.stack([(w.long() >> t) & 1 for t in range(T)]) for w in planes])
    return torch.tensordot(torch.tensor(neuron.firing.amplitudes), bits, dims=1)


@pytest.mark.parametrize("T", [1, 8, 31])
def test_bursts_without_a_cap_are_their_cumulative_maximum(T):
    neuron, drive = build("burst", cap=None).neuron, currents(T, scale=9)
    words, _ = if_steps(drive, THETA, THETA // 2, neuron=neuron)
    allowed = (drive.long().cumsum(0) + THETA // 2).div(THETA, rounding_mode="floor")
    assert torch.equal(emitted(words, neuron, T).cumsum(0), allowed.cummax(0).values.clamp(min=0))
    capped = build("burst", cap=2).neuron
    assert not torch.equal(emitted(if_steps(drive, THETA, THETA // 2, neuron=capped)[0], capped, T).sum(0), allowed)


@pytest.mark.parametrize("most", [1, 2, 5, 6, 13, 255])
def test_planes_of_levels_give_every_whole_number(most):
    neuron = Graded(levels(most))
    v = torch.arange(-3, 300, dtype=torch.int32) * (THETA // 2)
    words, after = if_constant(torch.zeros_like(v), 1, THETA, v, neuron=neuron)
    k = emitted(words, neuron, 1)[0]
    assert torch.equal(k, v.long().div(THETA, rounding_mode="floor").clamp(0, most))
    assert torch.equal(after.long(), v.long() - k * THETA)
    assert len(neuron.planes) == most.bit_length()


@pytest.mark.parametrize("most", [1, 2, 3, 7, 12])
def test_planes_of_negative_levels_take_back_what_was_emitted(most):
    neuron = Graded((*levels(255), *taken_back(most, early=True)), below=True)
    n = torch.arange(0, 20, dtype=torch.int32)[:, None].expand(20, 41).contiguous()
    v = torch.arange(-40, 1, dtype=torch.int32)[None].expand(20, 41) * (THETA // 2)
    words, after = if_constant(torch.zeros_like(n), 1, THETA, torch.stack([v, n * 256]), neuron=neuron)
    k = emitted(words, neuron, 1)[0]
    wanted = torch.minimum((-v.long() + THETA - 1).div(THETA, rounding_mode="floor").clamp(0, most), n.long())
    assert torch.equal(k, -wanted)
    assert torch.equal(after[0].long(), v.long() + wanted * THETA)
    assert torch.equal(after[1].long(), (n - wanted) * 256)


@pytest.mark.parametrize("many", [2, 3, 7])
def test_a_step_of_several_levels_is_as_many_uniform_steps(many):
    neuron = build("m-ht", levels=many).neuron
    g = torch.Generator().manual_seed(many)
    drive = torch.randint(-THETA, THETA * (many + 2) // many, (3000,), generator=g, dtype=torch.int32)
    start = torch.randint(0, THETA, (3000,), generator=g, dtype=torch.int32)
    words, after = if_constant(drive * many, 1, THETA, start, neuron=neuron)
    uniform, end = if_constant(drive, many, THETA, start)
    assert torch.equal(emitted(words, neuron, 1)[0], sum((uniform.long() >> t) & 1 for t in range(many)))
    assert torch.equal(after, end)


@pytest.mark.parametrize("T, members", [(1, 6), (4, 6), (8, 5), (32, 3)])
def test_group_neurons_have_as_many_levels_as_steps_and_members(T, members):
    neuron = build("gn", members=members).neuron
    drive = torch.arange(-2 * THETA, 2 * members * THETA, 371, dtype=torch.int32)
    words, _ = if_constant(drive, T, THETA, THETA // 2, neuron=neuron)
    wanted = (drive.long() * T + THETA // 2).div(THETA, rounding_mode="floor").clamp(0, T * members)
    assert torch.equal(emitted(words, neuron, T).sum(0), wanted)


@pytest.mark.parametrize("method, options", [("st-bif", {}), ("casc", {"gamma": 1}), ("casc", {"gamma": 3})])
@pytest.mark.parametrize("steps", [1, 4, 8])
def test_settled_neurons_are_the_quantised_network_in_every_count(model, method, options, steps):
    x = images()
    options = options | {"levels" if method == "st-bif" else "wake": steps}
    snn = fastsnn.convert(model, x, method=method, timesteps=steps + 56, **options)
    same = fastsnn.convert(model, x, method="parallel", timesteps=steps, max_pool="lateral")
    start = fixed_input(channels_last(x), same.program.exponent)
    expected = quantised(same.program, x, steps, start)
    for name, train in snn.spikes(x).items():
        assert torch.equal(train.to_dense(torch.float64).sum(0).long(), expected[name].long()), name
    # the output is the mean over the steps with input, long after them
    torch.testing.assert_close(snn(x), same(x))
    if steps > 1:
        early = [t.to_dense(torch.float64).sum(0).long() for t in snn.spikes(x, steps).values()]
        assert any(not torch.equal(e, expected[n].long()) for e, n in zip(early, snn.program.neurons, strict=True))


def recurrences(drive, bias, n, T):
    """Differential coding as the source's code has it, one level a step: (mean output, spikes) of [N] neurons."""
    theta = 2.0 ** (n - 1)
    known = [theta / 2**k for k in range(n)]
    mem = torch.full_like(drive, 0.0 if n > 1 else theta / 2)
    ein, eout, cum, fired = bias.clone(), torch.zeros_like(drive), torch.zeros_like(drive), torch.zeros_like(drive)
    for t in range(1, T + 1):
        x = drive if t == 1 else torch.zeros_like(drive)
        mem, cum = mem + x + ein - eout, cum + eout
        s = torch.zeros_like(mem)
        for level in known if n > 1 else [theta]:
            up, down = (0.75 * level, -0.75 * level) if n > 1 else (level, 0.0)
            free = s == 0
            s = torch.where(free & (mem >= up), level, s)
            s = torch.where((s == 0) & free & (mem <= down) & (cum >= level), -level, s)
        mem, cum, ein, eout = mem - s, cum + s, ein + x / t, eout + s / t
        fired += s != 0
    return eout, fired


@pytest.mark.parametrize("n", [1, 4])
@pytest.mark.parametrize("T", [4, 8, 16])
def test_differential_neurons_follow_the_sources_recurrences(n, T):
    g = torch.Generator().manual_seed(T)
    drive, bias = (torch.rand(20_000, generator=g, dtype=torch.float64) for _ in range(2))
    scale = 2.0 ** (n - 1)
    drive, bias = (drive - 0.3) * scale, (bias - 0.5) * scale
    neuron = build("dc", n=n).neuron
    steps = torch.zeros(T, 20_000, dtype=torch.float64)
    steps[0] = drive + bias
    words, _ = if_steps(steps, 1.0, 0.0, neuron=neuron)
    mean = (emitted(words, neuron, T) / torch.arange(1, T + 1, dtype=torch.float64)[:, None]).sum(0)
    wanted, spikes = recurrences(drive, bias, n, T)
    # sums of at most 3 T numbers of up to 64 levels differ by less than 1e-12; a level apart is at least 1 / T
    different = (mean - wanted).abs() > 1e-9
    # potentials within that of a level may go either way
    assert different.double().mean() < 1e-4
    assert torch.equal(emitted(words, neuron, T).ne(0).sum(0)[~different].double(), spikes[~different])


# the study's figures for constant drive, uniform on [-1/2, 1] of the largest level as its count of spikes has it, to
# about its two digits: three standard errors of 100,000 neurons are below 1 %
@pytest.mark.parametrize(
    "n, T, error, spikes",
    [(4, 4, 0.0088, 1.29), (4, 8, 0.0044, 1.49), (4, 16, 0.0026, 1.68), (1, 8, 0.044, None), (1, 16, 0.024, None)],
)
def test_errors_and_spikes_of_differential_neurons(n, T, error, spikes):
    g = torch.Generator().manual_seed(0)
    drive = torch.rand(100_000, generator=g, dtype=torch.float64) * 1.5 - 0.5
    neuron, scale = build("dc", n=n).neuron, 2.0 ** (n - 1)
    steps = torch.zeros(T, len(drive), dtype=torch.float64)
    steps[0] = drive * scale
    words, _ = if_steps(steps, 1.0, 0.0, neuron=neuron)
    out = emitted(words, neuron, T)
    mean = (out / torch.arange(1, T + 1, dtype=torch.float64)[:, None]).sum(0) / scale
    assert (mean - drive.clamp(min=0)).square().mean().sqrt().item() == pytest.approx(error, rel=0.03)
    if spikes is not None:
        assert out.ne(0).sum(0).double().mean().item() == pytest.approx(spikes, rel=0.02)


def correction_steps(drive, T):
    """PASCAL's neuron as it is written: T steps of IF, T - 1 that add or take back, and the count in order."""
    v, count = torch.full_like(drive[0], THETA // 2), torch.zeros_like(drive[0])
    for t in range(2 * T - 1):
        v = v + (drive[t] if t < T else 0)
        up, down = (v >= THETA) & (count < T), (v < 0) & (count > 0) & torch.tensor(t >= T)
        v, count = v - THETA * up.int() + THETA * down.int(), count + up.int() - down.int()
    return count


@pytest.mark.parametrize("T", [1, 4, 16])
def test_pascals_correction_steps_end_at_what_parallel_neurons_emit(T):
    drive = currents(T)
    allowed = (drive.long().sum(0) + THETA // 2).div(THETA, rounding_mode="floor").clamp(0, T)
    assert torch.equal(correction_steps(drive, T).long(), allowed)
    if T > 1:
        assert not torch.equal(correction_steps(drive, T)[:, None], currents(T, seed=1)[0][:, None])


def test_pascal_computes_what_parallel_does(model):
    x = images()
    one, other = (fastsnn.convert(model, x, method=name, timesteps=6) for name in ("pascal", "parallel"))
    assert torch.equal(one(x), other(x))
    assert one.method.card.latency == "T + (T - 1) L" and other.method.card.latency == "T"


# the study's shares of right counts for uneven currents, to two digits
@pytest.mark.parametrize(
    "name, shares", [("snm", (0.85, 0.79, 0.75)), ("fast-snn", (0.97, 0.96, 0.96))], ids=["snm", "fast-snn"]
)
def test_signed_neurons_miss_fewer_counts(name, shares):
    for T, known in zip((4, 8, 16), shares, strict=True):
        drive = 0.25 + 0.6 * torch.randn(T, 100_000, generator=torch.Generator().manual_seed(T))
        ideal = (drive.sum(0) + 0.5).floor().clamp(0, T)
        neuron = build(name).neuron
        found = emitted(if_steps(drive, 1.0, 0.5, neuron=neuron)[0], neuron, T).sum(0)
        # three standard errors of a share of 100,000 are at most 0.005, and as much again for the rounding
        assert (found == ideal).double().mean().item() == pytest.approx(known, abs=0.01)


def test_lateral_windows_emit_as_much_as_their_most_active_input():
    g = torch.Generator().manual_seed(0)
    T, amplitudes = 12, Graded((*levels(3), *taken_back(3, early=True)), below=True).firing.amplitudes
    windows = ((3, 2), (2, 2), (1, 0), (1, 1), False)
    index, _ = window_index((5, 4), *windows)
    each = torch.randint(0, 2, (T, len(amplitudes), 2, 5, 4, 3), generator=g, dtype=torch.uint8)
    words = torch.stack([pack(each[:, p]) for p in range(len(amplitudes))])
    inputs = torch.tensordot(torch.tensor(amplitudes), each.movedim(1, 0).long(), dims=1).cumsum(0)
    out, sums = pool_lateral(words, torch.zeros(2, 5, 4, 3, dtype=torch.int32), T, *windows, amplitudes)
    out = out.flatten(2, 3)
    found = emitted(out, Graded((*levels(3), *taken_back(3, early=True)), below=True), T).cumsum(0)
    flat = inputs.flatten(2, 3)
    for window, positions in enumerate(index.tolist()):
        inside = [p for p in positions if p >= 0]
        assert torch.equal(found[:, :, window], flat[:, :, inside].amax(2))
    assert torch.equal(sums.long(), inputs[-1]) and len(index) == out.shape[2]
    # in two parts, with the sums in between
    early, between = pool_lateral(words & 0b11111, torch.zeros_like(sums), 5, *windows, amplitudes)
    late, after = pool_lateral((words >> 5) & 0b1111111, between, 7, *windows, amplitudes)
    whole = early.long() | late.long() << 5
    assert torch.equal(whole.flatten(2, 3), out.long()) and torch.equal(after, sums)


@pytest.mark.parametrize("policy", ["lateral", "before"])
def test_max_pools_of_several_spikes(model, policy):
    x = images()
    dense = model(x).detach()
    snn = fastsnn.convert(model, x, method="h-mt", timesteps=8, max_pool=policy)
    plain = fastsnn.convert(model, x, timesteps=8, max_pool="before")
    # 15 levels a step in place of one
    assert (snn(x) - dense).norm() < (plain(x) - dense).norm() / 4
    assert "emits +8 +4 +2 +1" in str(snn.report)


@pytest.mark.parametrize("name", SEVERAL)
def test_runs_of_any_length_begin_alike_and_images_do_not_matter_to_each_other(model, name):
    x = images()
    options = {"max_pool": "average"} if name == "dc" else {}
    snn = fastsnn.convert(model, x, method=name, timesteps=40, **options)
    long = snn.logits_over_time(x)
    torch.testing.assert_close(snn.logits_over_time(x, 7), long[:7])
    torch.testing.assert_close(snn(x), long[-1])
    torch.testing.assert_close(snn(x[3:5]), long[-1][3:5])
    # chunk by chunk, by hand, of lengths that fit nothing
    with torch.inference_mode():
        run = snn.simulation(x)
        parts = [run.advance(T, over_time=True)[1][0] for T in (3, 7, 30)]
    torch.testing.assert_close(torch.cat(parts), long)


@pytest.mark.parametrize("name", SEVERAL)
def test_a_calibration_file_gives_the_same_spikes(model, name, tmp_path):
    x = images()
    options = {"max_pool": "average"} if name == "dc" else {}
    snn = fastsnn.convert(model, x, method=name, timesteps=6, **options)
    path = snn.calibration.save(tmp_path / "c.safetensors")
    again = fastsnn.convert(model, path)
    for one, other in zip(snn.spikes(x).values(), again.spikes(x).values(), strict=True):
        assert torch.equal(one.words[0], other.words[0]) and one.amplitudes == other.amplitudes
    assert again.method.options == snn.method.options


def test_early_exit_keeps_the_counts_of_those_that_go_on(model):
    x = images()
    snn = fastsnn.convert(model, x, method="fast-snn", timesteps=16)
    exits = fastsnn.early_exit(snn, x, 0.6, chunk=3, scale=20)
    curve = snn.logits_over_time(x)
    assert 1 < len(exits.steps.unique())
    for i, step in enumerate(exits.steps.tolist()):
        torch.testing.assert_close(exits.logits[i], curve[step - 1, i])


def test_what_cannot_be_is_refused(model):
    x = images()
    with pytest.raises(ConversionError, match=r'max_pool="gate" takes one spike a step, and .* emits more: choose'):
        fastsnn.convert(model, x, method="burst", max_pool="gate")
    for policy in (None, "lateral", "before"):
        with pytest.raises(ConversionError, match=r'the largest of running means .*choose max_pool="average"'):
            fastsnn.convert(model, x, method="dc", max_pool=policy)
    with pytest.raises(ConversionError, match="potentials that leak or grow need more than 16 bits"):
        fastsnn.convert(model, x, method="dc", max_pool="average", precision="int16")
    with pytest.raises(ConversionError, match="dc has no neuron for activations with an upper bound: 1"):
        fastsnn.convert(nn.Sequential(nn.Linear(3, 4), nn.ReLU6(), nn.Linear(4, 2)), torch.randn(8, 3), method="dc")
    for name, options, message in (
        ("burst", {"cap": 0}, "burst needs a cap of 1 to 255, got 0"),
        ("gn", {"members": 2.5}, "gn needs members of 1 to 255, got 2.5"),
        ("h-mt", {"n": 9}, "h-mt needs n of 1 to 8, got 9"),
        ("st-bif", {"levels": True}, "st-bif needs levels of 1 to 255, got True"),
        ("casc", {"gamma": 99}, "casc needs gamma of 1 to 15, got 99"),
    ):
        with pytest.raises(ValueError, match=message):
            build(name, **options)
    with pytest.raises(TypeError, match="comparator"):
        build("burst", comparator=">")
    with pytest.raises(ValueError, match="a neuron has 1 to 16 planes, got 18"):
        Graded(powers(9, 0.75))
