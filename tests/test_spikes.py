"""SpikeTrain: any number of steps, in chunks of words, in one plane or several."""

import pytest
import torch

from fastsnn.spikes import MAX_STEPS, SpikeTrain, chunk_lengths, rejoin, word_dtype

BYTE, SHORT, WORD = torch.uint8, torch.int16, torch.int32


@pytest.mark.parametrize("T", range(1, 71))
def test_packing_any_number_of_steps_loses_nothing(T):
    spikes = torch.randint(0, 2, (T, 3, 5, 7))
    train = SpikeTrain.pack(spikes)
    assert (train.T, train.planes, train.shape) == (T, 1, (3, 5, 7))
    assert len(train.words) == -(-T // MAX_STEPS)
    assert torch.equal(train.unpack()[0].long(), spikes) and train.unpack().dtype == BYTE
    assert torch.equal(train.to_dense(), spikes.float())
    assert torch.equal(train.counts().long(), spikes.sum(0)) and train.counts().dtype == WORD
    assert train.firing_rate() == pytest.approx(spikes.double().mean().item(), abs=1e-15)


def test_words_are_as_narrow_as_the_steps_allow():
    widths = {1: BYTE, 7: BYTE, 8: BYTE, 9: SHORT, 16: SHORT, 17: WORD, 31: WORD, 32: WORD}
    assert {T: word_dtype(T) for T in widths} == widths
    assert [w.dtype for w in SpikeTrain.pack(torch.zeros(70, 2)).words] == [WORD, WORD, BYTE]
    for T in (0, -1, 33):
        with pytest.raises(ValueError, match=f"a word holds 1 to 32 time-steps, got T={T}"):
            word_dtype(T)


def test_chunks():
    assert chunk_lengths(1) == [1] and chunk_lengths(32) == [32] and chunk_lengths(33) == [32, 1]
    assert chunk_lengths(70) == [32, 32, 6] and chunk_lengths(20, 8) == [8, 8, 4]
    with pytest.raises(ValueError, match="T must be at least 1, got 0"):
        chunk_lengths(0)


@pytest.mark.parametrize("each", [1, 2, 4, 8, 16, 32])
@pytest.mark.parametrize("T", [1, 3, 8, 20, 32, 33, 40, 64, 70])
def test_shorter_runs_join_to_the_same_words(T, each):
    spikes = torch.randint(0, 2, (T, 3, 5))
    parts = [SpikeTrain.pack(part).words[0][0] for part in spikes.split(each)]
    joined = rejoin(parts, chunk_lengths(T, each))
    assert all(torch.equal(a, b[0]) for a, b in zip(joined, SpikeTrain.pack(spikes).words, strict=True))


def test_hand_example():
    train = SpikeTrain.pack(torch.tensor([[1, 0], [0, 0], [1, 1]]))
    assert train.words[0].tolist() == [[0b101, 0b100]]
    assert train.counts().tolist() == [2, 1] and train.firing_rate() == 0.5
    assert repr(train) == "SpikeTrain(T=3, planes=1, shape=(2,), words=torch.uint8)"


def test_planes_are_worth_their_amplitudes():
    # of 40 steps: neuron 0 sends +1 at step 0 and at 39, neuron 1 sends -1 at 39 and 4 at 31
    dense = torch.zeros(3, 40, 2)
    dense[0, [0, 39], 0] = dense[1, 39, 1] = dense[2, 31, 1] = 1
    packed = [SpikeTrain.pack(plane).words for plane in dense]
    train = SpikeTrain(tuple(map(torch.cat, zip(*packed, strict=True))), 40, (1.0, -1.0, 4.0))
    assert train.planes == 3 and train.shape == (2,) and torch.equal(train.unpack(), dense.to(BYTE))
    want = torch.zeros(40, 2)
    want[0, 0], want[39, 0], want[39, 1], want[31, 1] = 1, 1, -1, 4
    assert torch.equal(train.to_dense(), want)
    assert train.to_dense(torch.float64).dtype == torch.float64
    assert train.counts().tolist() == [2, 2] and train.firing_rate() == 4 / 80


def test_to_moves_every_chunk(device):
    train = SpikeTrain.pack(torch.ones(40, 3))
    moved = train.to(device)
    assert moved.device.type == device and {w.device.type for w in moved.words} == {device}
    assert torch.equal(moved.to("cpu").unpack(), train.unpack()) and moved.T == 40


def test_no_neurons_and_no_dimension():
    none = SpikeTrain.pack(torch.zeros(40, 0, 3))
    assert none.shape == (0, 3) and none.firing_rate() == 0.0
    assert none.to_dense().shape == (40, 0, 3) and none.counts().shape == (0, 3)
    one = SpikeTrain.pack(torch.tensor([1, 0, 1]))
    assert one.shape == () and one.counts().item() == 2 and one.to_dense().tolist() == [1, 0, 1]


def test_layout_of_the_spikes_does_not_matter():
    spikes = torch.randint(0, 2, (5, 4, 40)).permute(2, 1, 0)
    assert torch.equal(SpikeTrain.pack(spikes).unpack()[0].long(), spikes)


@pytest.mark.parametrize(
    "words, T, amplitudes, error, match",
    [
        ((), 3, (1.0,), TypeError, r"words must be uint8, int16 or int32, got \[\]"),
        ((torch.zeros(1, 2),), 3, (1.0,), TypeError, r"words must be .*torch.float32"),
        ((torch.zeros(1, 2, dtype=torch.int64),), 3, (1.0,), TypeError, r"words must be .*torch.int64"),
        ((torch.zeros((), dtype=BYTE),), 3, (1.0,), ValueError, r"must be \[planes, \*N\] with 1 planes, got \[\(\)\]"),
        ((torch.zeros(2, 3, dtype=BYTE),), 3, (1.0,), ValueError, r"with 1 planes, got \[\(2, 3\)\]"),
        ((torch.zeros(1, 3, dtype=BYTE),), 3, (1.0, -1.0), ValueError, r"with 2 planes, got \[\(1, 3\)\]"),
        ((torch.zeros(1, 3, dtype=WORD), torch.zeros(1, 4, dtype=BYTE)), 33, (1.0,), ValueError,
         r"every chunk must be .*got \[\(1, 3\), \(1, 4\)\]"),
        ((torch.zeros(1, 3, dtype=BYTE),), 0, (1.0,), ValueError, r"T=0 does not fit 1 chunks of \[8\] bits"),
        ((torch.zeros(1, 3, dtype=BYTE),), 9, (1.0,), ValueError, r"T=9 does not fit 1 chunks of \[8\] bits"),
        ((torch.zeros(1, 3, dtype=WORD),), 33, (1.0,), ValueError, r"T=33 does not fit 1 chunks of \[32\] bits"),
        ((torch.zeros(1, 3, dtype=WORD),) * 2, 32, (1.0,), ValueError, r"T=32 does not fit 2 chunks of \[32, 32\]"),
        ((torch.zeros(1, 3, dtype=BYTE), torch.zeros(1, 3, dtype=WORD)), 33, (1.0,), ValueError,
         r"T=33 does not fit 2 chunks of \[8, 32\] bits"),
    ],
)  # fmt: skip
def test_refuses(words, T, amplitudes, error, match):
    with pytest.raises(error, match="SpikeTrain: .*" + match):
        SpikeTrain(words, T, amplitudes)


@pytest.mark.parametrize("shape", [(), (0, 3)])
def test_refuses_to_pack_no_steps(shape):
    with pytest.raises(ValueError, match=r"SpikeTrain.pack: spikes must be \[T, \*N\] with T >= 1, got"):
        SpikeTrain.pack(torch.zeros(shape))
