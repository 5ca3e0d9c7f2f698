"""What each verb of the command line prints and writes, and that a mistake is answered in one line."""

import json
import shlex
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import fastsnn
from fastsnn import _env, _files, _order
from fastsnn.cli import main
from fastsnn.commands import digits, info, output
from fastsnn.convert import parameters
from fastsnn.errors import ConversionError
from fastsnn.profile import run as stages

MODELS = '''
"""Networks for 8x8 colour images, three classes."""
import torch
from torch import nn

VALUE = 3


def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.AvgPool2d(4), nn.Flatten(), nn.Linear(24, 3)
    )


def needs(width):
    return net()


def nothing():
    return "a network"


def pair():
    class Pair(nn.Module):
        def forward(self, x):
            return x, x
    return Pair()
'''


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder with a model file, its weights, and data; the current folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    (tmp_path / "nets.py").write_text(MODELS)
    space: dict = {}
    exec(MODELS, space)
    torch.save({"state_dict": {f"module.{k}": v for k, v in space["net"]().state_dict().items()}}, "w.pt")
    rng = np.random.default_rng(0)
    images, labels = rng.integers(0, 256, (40, 8, 8, 3), dtype=np.uint8), np.arange(40) % 3
    np.savez(
        "d.npz", train_images=images[:20], train_labels=labels[:20], test_images=images[20:], test_labels=labels[20:]
    )
    return tmp_path


def evaluate(*more, model="nets.py:net", weights="w.pt", data="d.npz"):
    given = [("--model", model), ("--weights", weights), ("--data", data)]
    return ["eval", *(part for pair in given if pair[1] for part in pair), *more]


def refused(argv, capsys) -> str:
    """The message of a call that must fail with exit code 2, one line on stderr and nothing after it."""
    try:
        code = main(argv)
    except SystemExit as e:
        code = e.code
    err = capsys.readouterr().err
    assert code == 2
    assert err.endswith("\n") and err.count("\n") == 1, err
    assert err.startswith("fastsnn")
    return err


def test_eval_prints_a_table_and_writes_the_curve(here, capsys):
    argv = evaluate(
        "--timesteps", "12", "--mean", "0.5,0.4,0.3", "--std", "0.2", "--batch-size", "7", "--report", "--out", "r.json"
    )
    assert main(argv) == 0
    shown = capsys.readouterr()
    header = next(line for line in shown.out.splitlines() if "T =" in line)
    assert [w for w in header.split() if w.isdigit()] == ["1", "2", "4", "8", "12"]
    assert "20 images" in shown.out and "opi" in shown.out and "note: d.npz has 20 images to calibrate on" in shown.out
    result = json.loads((here / "r.json").read_text())
    assert len(result["accuracy_over_time"]) == 12 and all(0 <= a <= 1 for a in result["accuracy_over_time"])
    assert result["images"] == 20 and result["calibrated_on"] == 20
    assert result["settings"]["mean"] == [0.5, 0.4, 0.3] and result["settings"]["timesteps"] == 12
    assert result["versions"]["torch"] == torch.__version__
    assert sorted(p.name for p in here.iterdir() if p.suffix == ".json") == ["r.json"]


def test_eval_reads_the_first_images_only_and_calibrates_elsewhere(here, capsys):
    np.savez("c.npz", images=np.zeros((4, 8, 8, 3), dtype=np.uint8), labels=np.zeros(4, dtype=int))
    argv = evaluate(
        "--timesteps",
        "2",
        "--images",
        "5",
        "--calibration-data",
        "c.npz",
        "--calibration-images",
        "3",
        "--out",
        "r.json",
        "--initial-potential",
        "0",
        "--precision",
        "float64",
        "--per-layer",
    )
    assert main(argv) == 0
    shown = capsys.readouterr()
    assert "first 5 images" in shown.out and "note: c.npz keeps no training images apart" in shown.out
    assert not shown.err
    result = json.loads((here / "r.json").read_text())
    assert result["images"] == 5 and result["calibrated_on"] == 3 and result["settings"]["per_layer"] is True


def test_eval_of_a_module_in_the_current_folder_without_weights(here, capsys):
    (here / "nets.py").rename(here / "nets_of_mine.py")
    assert main(evaluate("--timesteps", "2", model="nets_of_mine:net", weights=None)) == 0
    assert "note: no --weights" in capsys.readouterr().out


def test_eval_draws_a_plot(here, capsys):
    pytest.importorskip("matplotlib")
    assert main(evaluate("--timesteps", "4", "--plot", "p.png")) == 0
    assert (here / "p.png").read_bytes().startswith(b"\x89PNG") and "plot: p.png" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv, message",
    [
        (evaluate(model="nets"), "--model should be module:function or file.py:function, got 'nets'"),
        (evaluate(model="absent.py:net"), "no such file: absent.py"),
        (evaluate(model="absent_module:net"), "cannot import absent_module"),
        (evaluate(model="broken.py:net"), "cannot import broken.py: invalid syntax"),
        (evaluate(model="lacking.py:net"), "cannot import lacking.py: No module named 'absent_package'"),
        (evaluate(model="nets.py:VALUE"), "nets.py has no function 'VALUE'; it has net, needs, nothing, pair"),
        (evaluate(model="nets.py:needs"), "should be callable without arguments: missing a required argument: 'width'"),
        (evaluate(model="nets.py:nothing"), "should return a torch.nn.Module, got a str"),
        (evaluate(model="nets.py:pair", weights=None), "should return logits [20, classes], got tuple"),
        (evaluate(weights="absent.pt"), "no such file: absent.pt"),
        (evaluate(weights="nets.py"), "nets.py is not a file of t"),
        (evaluate(weights="keys.pt"), "keys.pt does not fit Sequential: 2 missing: 5.weight, 5.bias; 1 unexpected: x"),
        (evaluate(weights="shapes.pt"), "5.weight should be (3, 24), got (3, 25)"),
        (evaluate(data="absent"), "no such file or folder: absent"),
        (evaluate(data="nets.py"), "data should be a folder of images, a .npz file"),
        (
            evaluate(data="labels.npz"),
            "labels should be below 3, the number of classes that the model tells apart, got 7",
        ),
        (evaluate(data="grey.npz"), "the model does not take images of shape (1, 8, 8)"),
        (evaluate("--calibration-data", "absent.npz"), "no such file or folder: absent.npz"),
        (evaluate("--mean", "1,2"), "the images have 3 channels, got 2 numbers"),
        (evaluate("--resize", "9"), "it needs an image size"),
        (evaluate("--method", "magic"), "magic"),
        (evaluate("--threshold", "nonsense"), "nonsense"),
        (evaluate("--out", "r.txt"), "output file should end in .json, got r.txt"),
        (evaluate("--out", "absent/r.json"), "no folder absent"),
        (evaluate("--plot", "p.jpg"), "output file should end in .png or .svg or .pdf, got p.jpg"),
        (evaluate("--timesteps", "0"), "--timesteps: should be a whole number of at least 1, got '0'"),
        (evaluate("--images", "many"), "--images: should be a whole number of at least 1, got 'many'"),
        (evaluate("--mean", "a,b"), "--mean: should be numbers such as 0.5,0.4,0.3, got 'a,b'"),
        (
            evaluate("--initial-potential", "half"),
            "should be a number or one of uniform, gaussian, measured, got 'half'",
        ),
        (evaluate("--precision", "int4"), "invalid choice: 'int4'"),
        (["eval", "--model", "nets.py:net"], "the following arguments are required: --data"),
        (["demo", "--epochs", "0"], "--epochs: should be a whole number of at least 1, got '0'"),
        (["demo", "--out", "w.pt"], "output folder w.pt cannot be written"),
        (["fly"], "invalid choice: 'fly'"),
        ([], "arguments are required"),
    ],
    ids=lambda v: " ".join(v[-2:]) if isinstance(v, list) else "",
)
def test_mistakes_are_answered_in_one_line(here, capsys, argv, message):
    state = torch.load("w.pt")["state_dict"]
    torch.save({k: v for k, v in state.items() if ".5." not in k} | {"module.x": torch.ones(1)}, "keys.pt")
    torch.save(state | {"module.5.weight": torch.zeros(3, 25)}, "shapes.pt")
    images = np.zeros((9, 8, 8, 3), dtype=np.uint8)
    np.savez("labels.npz", images=images, labels=np.full(9, 7))
    np.savez("grey.npz", images=images[..., 0], labels=np.zeros(9, dtype=int))
    (here / "broken.py").write_text("def net(:")
    (here / "lacking.py").write_text("import absent_package")
    assert message in refused(argv, capsys)


def test_results_are_not_computed_before_the_output_path_is_known_to_be_good(here, capsys, monkeypatch):
    monkeypatch.setattr("fastsnn.commands.setup.build", lambda spec: pytest.fail("the run began"))
    assert "no folder absent" in refused(evaluate("--out", "absent/r.json"), capsys)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is available")
def test_cuda_is_refused_where_there_is_none(here, capsys):
    assert "--device cuda: no CUDA device is available" in refused(evaluate("--device", "cuda"), capsys)


def test_calibration_is_kept_in_a_file(here, capsys):
    argv = evaluate("--timesteps", "4", "--method", "lcp", "--checkpoint", "c.safetensors", "--out", "r.json")
    assert main(argv) == 0
    first = json.loads((here / "r.json").read_text())["accuracy_over_time"]
    written = parameters.load(here / "c.safetensors").corrections
    assert main(argv) == 0
    assert json.loads((here / "r.json").read_text())["accuracy_over_time"] == first
    again = parameters.load(here / "c.safetensors").corrections
    assert {name: c.shift.tolist() for name, c in again.items()} == {
        name: c.shift.tolist() for name, c in written.items()
    }
    capsys.readouterr()
    other = evaluate("--timesteps", "8", "--method", "lcp", "--checkpoint", "c.safetensors")
    assert "c.safetensors is of T = 4, asked for was 8" in refused(other, capsys)


def profiled(*more, **given):
    argv = evaluate("--timesteps", "4", "--rounds", "3", "--no-compile", *more, **given)
    return ["profile", *argv[1:]]


@pytest.fixture
def quick(monkeypatch):
    """Without the micro-benchmark and without watching an idle machine."""
    peaks = {"bytes_a_second": 1e9, "operations_a_second": 1e9, "how": "of the test"}
    monkeypatch.setattr(stages, "peaks", lambda *_: peaks)
    monkeypatch.setattr(stages, "measured", lambda *_: {"not_measurable": "the test"})


def test_profile_prints_tables_and_writes_both_kinds_of_file(here, capsys, quick):
    argv = profiled("--also", "initial-potential=0", "--also", "precision=float32", "--energy-model", "neuromorphic")
    argv += ["--batch", "2", "--batch-size", "7", "--out", "p.json", "--out", "p.html"]
    assert main(argv) == 0
    shown = capsys.readouterr()
    assert not shown.err
    for text in ("counted on 20 images", "batches of 2", "initial-potential=0", "precision=float32", "neuromorphic"):
        assert text in shown.out, text
    assert (
        "not measurable here: the test" in shown.out and "profile: p.json" in shown.out and "page: p.html" in shown.out
    )
    document = json.loads((here / "p.json").read_text())
    assert document["command"] == "fastsnn " + shlex.join(argv) and document["network"]["dense"] == "Sequential"
    others = [curve["name"] for curve in document["accuracy"]["curves"]][1:]
    assert others == ["initial-potential=0", "precision=float32"]
    assert "d.npz has 20 images to calibrate on, not 512" in document["notes"]
    assert (here / "p.html").read_text().startswith("<!DOCTYPE html>")


def test_compare_shows_profiles_side_by_side(here, capsys, quick):
    assert main(profiled("--out", "a.json")) == 0
    assert main(profiled("--precision", "float32", "--batch", "3", "--out", "b.json")) == 0
    capsys.readouterr()
    assert main(["compare", "a.json", "b.json", "--out", "c.html"]) == 0
    shown = capsys.readouterr().out
    assert all(text in shown for text in ("int32", "float32", "rate, a", "ms, b", "page: c.html"))
    assert "<!DOCTYPE html>" in (here / "c.html").read_text()


def test_ctrl_c_writes_what_there_is(here, capsys, quick, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(stages, "peak_bytes", stop)
    assert main(profiled("--out", "p.json")) == 130
    assert "PARTIAL: interrupted while measuring memory" in capsys.readouterr().out
    assert json.loads((here / "p.json").read_text())["partial"].startswith("interrupted while measuring memory")


@pytest.mark.parametrize(
    "argv, message",
    [
        (profiled("--out", "p.txt"), "output file should end in .json or .html, got p.txt"),
        (profiled("--out", "absent/p.json"), "no folder absent"),
        (profiled("--energy-model", "free"), "energy model must be one of horowitz-fp32"),
        (profiled("--also", "nonsense"), "--also should be OPTION=VALUE, such as initial-potential=0, got 'nonsense'"),
        (profiled("--also", "precision=int4"), "invalid choice: 'int4'"),
        (profiled("--also", "colour=red"), "unrecognized arguments: --colour=red"),
        (profiled("--rounds", "2"), "--rounds: should be a whole number of at least 3, got '2'"),
        (["compare", "p.json"], "a comparison needs at least two profiles, got 1"),
        (["compare", "p.json", "p.json"], "compare needs different files"),
        (["compare", "p.json", "absent.json"], "absent.json"),
        (["compare", "p.json", "d.npz"], "d.npz is not a profile"),
        (["compare", "p.json", "q.json", "--out", "c.txt"], "output file should end in .html, got c.txt"),
    ],
    ids=lambda v: " ".join(v[-2:]) if isinstance(v, list) else "",
)
def test_mistakes_of_profile_and_compare(here, capsys, quick, argv, message):
    if argv[0] == "compare":
        assert main(profiled("--out", "p.json")) == 0
        capsys.readouterr()
    assert message in refused(argv, capsys)


def raising(error):
    def raise_it(*args, **kwargs):
        raise error

    return raise_it


def test_a_conversion_error_keeps_its_lines(here, capsys, monkeypatch):
    monkeypatch.setattr(fastsnn, "convert", raising(ConversionError("2 nodes cannot convert:\n  a: why\n  b: why")))
    assert main(evaluate("--calibration-images", "9")) == 2
    assert capsys.readouterr().err == "fastsnn eval: 2 nodes cannot convert:\n  a: why\n  b: why\n"


def test_traceback_on_request(here, monkeypatch):
    monkeypatch.setattr(fastsnn, "convert", raising(ValueError("deep inside")))
    with pytest.raises(ValueError, match="deep inside"):
        main(evaluate("--traceback"))


def test_ctrl_c_is_quiet(here, capsys, monkeypatch):
    monkeypatch.setattr(fastsnn, "convert", raising(KeyboardInterrupt))
    assert main(evaluate("--calibration-images", "9")) == 130
    assert capsys.readouterr().err == ""


def test_a_missing_extra_names_what_to_install(here, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    message = refused(evaluate("--plot", "p.png"), capsys)
    assert "--plot needs matplotlib.figure" in message and 'pip install "fastsnn[cli]"' in message


def test_an_unfinished_result_leaves_nothing(tmp_path):
    (tmp_path / "r.json").write_text("old")
    with pytest.raises(TypeError):
        _files.write_json(tmp_path / "r.json", {"bad": object()})
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"] and (tmp_path / "r.json").read_text() == "old"


def test_demo(tmp_path, capsys, monkeypatch):
    pytest.importorskip("sklearn")
    pytest.importorskip("matplotlib")
    images, labels, test, test_labels = digits.load(3)
    monkeypatch.setattr(digits, "load", lambda seed: (images[:200], labels[:200], test[:30], test_labels[:30]))
    assert main(["demo", "--out", str(tmp_path / "new" / "out"), "--epochs", "2", "--seed", "3"]) == 0
    shown = capsys.readouterr()
    assert "V(0) = theta/2" in shown.out and "V(0) = 0" in shown.out and "mean firing rate" in shown.out
    header = next(line for line in shown.out.splitlines() if "T =" in line)
    assert [w for w in header.split() if w.isdigit()] == ["1", "2", "4", "8", "16", "32"]
    plot = tmp_path / "new" / "out" / "accuracy_over_time.png"
    assert plot.read_bytes().startswith(b"\x89PNG") and f"plot: {plot}" in shown.out


def test_training_the_demo_repeats_and_leaves_the_random_state_alone():
    pytest.importorskip("sklearn")
    images, labels, test, _ = digits.load(seed=1)
    assert images.shape == (1347, 1, 8, 8) and test.shape == (450, 1, 8, 8) and images.max() == 1
    before, threads = torch.get_rng_state(), torch.get_num_threads()
    nets = [digits.train(images[:200], labels[:200], 1, seed, lambda loss: None) for seed in (1, 1, 2)]
    assert torch.equal(torch.get_rng_state(), before) and torch.get_num_threads() == threads
    first, again, other = (nn.utils.parameters_to_vector(n.parameters()) for n in nets)
    assert torch.equal(first, again) and not torch.equal(first, other)


def test_shifted_digits_are_the_digits_moved():
    images = torch.arange(1.0, 65.0).reshape(1, 1, 8, 8).repeat(50, 1, 1, 1)
    moved = digits._shifted(images)
    padded = torch.nn.functional.pad(images[:1], (1, 1, 1, 1))
    windows = padded.unfold(2, 8, 1).unfold(3, 8, 1).reshape(9, 64)
    assert set(map(tuple, moved.reshape(50, 64).tolist())) == set(map(tuple, windows.tolist()))


def test_info(capsys):
    assert main(["info"]) == 0
    shown = capsys.readouterr().out
    assert torch.__version__ in shown and fastsnn.__version__ in shown
    for word in ("python", "numpy", "triton", "cupy", "torchvision", "compiled module", "CUDA device", "reference"):
        assert word in shown
    assert main(["info", "--verbose"]) == 0
    assert "FASTSNN_BACKEND" in capsys.readouterr().out


def test_info_says_which_gpu_backend_comes_first(monkeypatch, tmp_path):
    monkeypatch.setattr(_env, "CACHE", str(tmp_path))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert info.order_lines() == ["order of GPU backends where nothing was measured: triton, cuda"]
    # a GPU, as far as it is asked for its name
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 0)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "NVIDIA Made Up")
    _order.MEASURED.store("pool_or int16 @ 20", {"triton": 3e-6, "cuda": 2e-6}, torch.device("cuda", 0))
    lines = info.order_lines()
    assert "pool_gate: triton, cuda (not measured)" in lines
    at = lines.index("pool_or: 1 measured")
    assert lines[at + 1] == "    int16 @ 20: cuda 2 us, triton 3 us"
    _order.MEASURED.forget()


def test_info_says_why_a_backend_does_not_run():
    rows = [
        ("pack", {"cuda": "no\ndevice", "reference": None}),
        ("pool", {"cuda": "no\ndevice", "reference": None}),
        ("readout", {"cuda": "not written", "reference": None}),
    ]
    assert info.backend_lines(rows) == [
        "family   cuda    reference",
        "pack     no [1]  yes",
        "pool     no [1]  yes",
        "readout  no [2]  yes",
        "",
        "[1] no device",
        "[2] not written",
    ]


def test_help_imports_nothing_that_only_some_verbs_need():
    code = "import sys; from fastsnn.cli import _parser; _parser().format_help(); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not {"matplotlib", "sklearn", "torchvision", "rich", "fastsnn.commands"} & set(done.stdout.split())


def test_version(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0 and capsys.readouterr().out == f"fastsnn {fastsnn.__version__}\n"


def test_the_module_runs():
    done = subprocess.run([sys.executable, "-m", "fastsnn", "eval"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("fastsnn eval: the following arguments are required: --model, --data")


@pytest.mark.parametrize("T, steps", [(1, [1]), (2, [1, 2]), (12, [1, 2, 4, 8, 12]), (32, [1, 2, 4, 8, 16, 32])])
def test_steps_shown(T, steps):
    assert output.steps_shown(T) == steps
