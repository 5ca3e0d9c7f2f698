"""Whether rows of peers are written, shown in a table and drawn as they should be."""

import json
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
PARTS = ("ahead", "chart", "heat", "matrix", "prepare", "report", "run", "worker")
CPU = torch.device("cpu")
T, BATCH = 5, 3
KEY = {"network": "net", "T": 32, "batch": 1, "opponent": "sinabs"}


@pytest.fixture(scope="module")
def bench():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT / "benchmarks")
        yield SimpleNamespace(rows=import_module("rows"), **{name: import_module(f"peers.{name}") for name in PARTS})


@pytest.fixture(scope="module")
def folder(bench, tmp_path_factory):
    made = tmp_path_factory.mktemp("peers")
    bench.prepare.prepare(made, "tiny", [T], CPU)
    return made


def test_the_matrix_has_the_cases(bench):
    names = {case.network for case in bench.matrix.DEFAULT}
    assert names == {case.network for case in bench.matrix.ALL} == set(bench.matrix.NETWORKS)
    assert all(any(c.T == 16 and c.network == n for c in bench.matrix.DEFAULT) for n in names)
    assert {case.T for case in bench.matrix.DEFAULT} == set(bench.matrix.STEPS)
    plan = bench.matrix.chosen(bench.matrix.ALL, ["vgg16"], ["norse"])
    assert list(plan) == ["vgg16"] and (plan["vgg16"]["norse"][0].T, plan["vgg16"]["norse"][0].batch) == (4, 1)
    assert len(plan["vgg16"]["norse"]) == 12
    plan = bench.matrix.chosen(bench.matrix.ALL, ["vgg16"], ["norse"], [8, 32], [16])
    assert [(case.T, case.batch) for case in plan["vgg16"]["norse"]] == [(8, 16), (32, 16)]
    assert not bench.matrix.chosen(bench.matrix.DEFAULT, ["vgg16"], None, [32])


def fake(bench, opponent, ms, batch=1, **change):
    times = {"opponent": ms, "dense": 2.0, "int32": 5.0, "int16": 3.0}
    row = {
        "case": "peers",
        "network": "net",
        "T": 16,
        "batch": batch,
        "opponent": opponent,
        "version": f"{opponent} 1",
        "rate": 0.1234,
        "drift": 1e-6,
        "allowed": 1e-2,
        "processor": "CPU X",
        "instruction_set": "avx2",
        "threads": 2,
        "torch": "2.11.0",
        "commit": "abc1234",
        "dirty": False,
        "utc": "2026-01-02T03:04:05+00:00",
        **bench.worker.figures(times, batch),
    }
    return row | change


def test_a_busy_machine_gives_no_row(bench, folder, monkeypatch, tmp_path):
    def busy(*args, **options):
        raise bench.worker.Busy("1 threads need as many free processors")

    monkeypatch.setattr(bench.worker, "interleaved", busy)
    row = bench.worker.attempt(folder, "tiny", "dense", (T, BATCH), CPU, timed=True)
    assert row == {"reason": "1 threads need as many free processors", "busy": True}
    session = bench.run.Session(folder, CPU, 1, timed=True)
    monkeypatch.setattr(session, "prepare", lambda *_: "")
    monkeypatch.setattr(session, "compare", lambda *_: [fake(bench, "dense", 2.0), fake(bench, "dense", 2.0) | row])
    case = bench.matrix.Case("tiny", T, BATCH)
    assert bench.run.run(session, {"tiny": {"dense": [case]}}, tmp_path, None) == 1
    (written,) = (path.read_text() for path in tmp_path.iterdir())
    assert written.count("\n") == 1 and "busy" not in json.loads(written)


def test_figures_of_times(bench):
    found = bench.worker.figures({"opponent": 12.0, "dense": 3.0, "int32": 6.0}, 4)
    assert found["image_ms"] == 3.0 and found["ratio_dense"] == 4.0
    assert found["speedup"] == {"int32": 2.0} and found["ours_ratio_dense"] == {"int32": 2.0}


def test_the_table_of_fake_rows(bench):
    memory = {"memory_mib": 30.4, "ours_memory_mib": {"int32": 10.0, "int16": 7.0}}
    rows = [
        fake(bench, "dense", 2.0, **memory),
        fake(bench, "torch", 20.0),
        fake(bench, "norse", 40.0, differs=1e-7, counts_differ=0.0),
        fake(bench, "dense", 16.0, batch=8, rate=0.2),
        {"network": "net", "T": 16, "batch": 1, "opponent": "sinabs", "reason": "pip install: no network"},
    ]
    image, table, extra, conditions, missing, more = bench.report.headline(rows).split("\n\n")
    assert image.startswith("![") and image.endswith("(docs/peers.svg)")
    assert more.startswith("[docs/peers.md](docs/peers.md)")
    head, _, *lines = table.splitlines()
    assert head.startswith("| network | rate | T | batch | int32 | int16 | dense | PyTorch | Norse | best peer |")
    assert lines == [
        "| net | 12.3% | 16 | 1 | 5.00 | 3.00 | 2.00 | 20.0 | 40.0 | PyTorch | 4.0 | 6.7 |",
        "| net | 20.0% | 16 | 8 | 0.62 | 0.38 | 2.00 | - | - | - | - | - |",
    ]
    assert extra.splitlines()[-1] == "| net | 16 | 1 | 10 | 7 | 30 |"
    assert (
        "In 1 of 2 comparisons with a dense network, it is faster" in conditions
        and "CPU X (avx2), 2 threads" in conditions
    )
    assert (
        "At T = 16, times faster than the fastest peer of each line: int32 4.0 to 4.0, int16 6.7 to 6.7." in conditions
    )
    assert missing == "- net, T = 16, batch 1, sinabs: no result: pip install: no network"
    assert bench.report.render(rows[-1:]) == f"{bench.report.NONE}\n\n{missing}"
    elsewhere = [row | {"processor": "CPU Y"} for row in rows[:2]]
    *_, other, more = bench.report.headline(rows, [elsewhere]).split("\n\n")
    assert other == "CPU Y (avx2): " + bench.report._ahead(rows[:2]) and other.endswith("int16 6.7 to 6.7.")
    assert f"\n\n## CPU Y (avx2)\n\n{bench.report.render(elsewhere)}" in bench.report.whole(rows, [elsewhere])
    early = [fake(bench, "torch", 8.0, T=4), *rows]
    assert bench.report.headline(early) == bench.report.headline(rows)
    image, whole, *_ = bench.report.whole(early).split("\n\n")
    assert image.endswith("(peers-ahead.svg)") and "| 4 | 1 |" in whole and "| 16 | 8 |" in whole
    assert "svg" not in bench.report.whole([fake(bench, "dense", 2.0, T=4)])


def test_how_far_ahead_of_the_fastest_peer(bench):
    rows = [fake(bench, "dense", 1.0), fake(bench, "torch", 20.0), fake(bench, "norse", 10.0)]
    rows += [fake(bench, "torch", 30.0, T=4, batch=16), fake(bench, "dense", 1.0, T=8), {"reason": "none"} | KEY]
    assert bench.ahead.ahead(rows) == {
        ("net", 16, 1): {"int32": 2.0, "int16": 10 / 3},
        ("net", 4, 16): {"int32": 6.0, "int16": 10.0},
    }
    with pytest.raises(ValueError, match="no rows with the times of a peer"):
        bench.heat.draw(rows[:1], Path("unused.svg"))


def test_the_report_of_rows_in_a_file(bench, monkeypatch, tmp_path, capsys):
    pytest.importorskip("matplotlib")
    report, readme, chart = bench.report, tmp_path / "README.md", tmp_path / bench.report.CHART
    page, heat = tmp_path / report.PAGE, tmp_path / report.HEAT
    monkeypatch.setattr(report, "ROWS", tmp_path)
    arguments = ["--device", "x", "--readme", str(readme), "--docs", str(tmp_path)]
    for file in (readme, page):
        file.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    assert report.main(arguments) == 0
    assert report.NONE in readme.read_text() and not chart.exists()
    rows = [fake(bench, "dense", 2.0), fake(bench, "torch", 20.0), fake(bench, "torch", 10.0)]
    (tmp_path / "x.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    assert report.main([*arguments, "--check"]) == 1
    assert capsys.readouterr().err.count("has another table than x.jsonl") == 2
    assert report.main(arguments) == 0 and report.main([*arguments, "--check"]) == 0
    for file in (readme, page):
        assert "| 10.0 | PyTorch | 2.0 | 3.3 |" in file.read_text(), "the newest row of a case counts"
    drawn = [picture.read_text() for picture in (chart, heat)]
    assert all(text.lstrip().startswith("<?xml") for text in drawn) and report.main(arguments) == 0
    assert [picture.read_text() for picture in (chart, heat)] == drawn
    before = readme.read_text()
    page.write_text("no markers")
    assert report.main(arguments) == 2 and readme.read_text() == before, "both or none"


def test_the_chart_has_ours_first_and_every_opponent(bench):
    rows = [fake(bench, "torch", 20.0), fake(bench, "torch", 999.0, batch=8), {**fake(bench, "norse", 4.0), "T": 4}]
    ((title, bars),) = bench.chart.panels(rows)
    assert title == "net, batch 1" and bars == {"int32": 2.5, "int16": 1.5, "torch": 10.0}


@pytest.mark.parametrize("file, kind", [("README.md", "headline"), ("docs/peers.md", "whole")])
def test_the_documents_have_the_peers_of_the_rows(bench, file, kind):
    text, render = (ROOT / file).read_text(), getattr(bench.report, kind)
    rows = [bench.rows.latest(path) for path in sorted(bench.report.ROWS.glob("*.jsonl"))]
    tables = [render(first, [other for other in rows if other is not first]) for first in rows] or [render([])]
    assert any(f"{bench.report.BEGIN}\n{table}\n{bench.report.END}" in text for table in tables)


@pytest.mark.slow
def test_the_readmes_check_compares_without_times(bench, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(bench.run, "ROWS", tmp_path / "rows")
    threads = torch.get_num_threads()
    try:
        assert bench.run.main(["--check", "--against", "torch", "--threads", "1"]) == 0
    finally:
        torch.set_num_threads(threads)
    printed = capsys.readouterr().out
    assert printed.count("T steps in PyTorch, eager: logits off by") == 2 and " ms" not in printed
    assert not (tmp_path / "rows").exists()
