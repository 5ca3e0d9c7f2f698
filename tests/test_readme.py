"""Whether every code block of the README runs and prints what stands below it, and every command exists."""

import contextlib
import io
import re
import subprocess
import sys
from pathlib import Path

import pytest

from fastsnn.cli import main

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
# a python block and the text block that says what it prints
PROGRAMS = re.findall(r"```python\n(.*?)```\s*prints\s*```text\n(.*?)```", README, re.DOTALL)
COMMANDS = [line for line in README.splitlines() if line.startswith(("fastsnn ", "make "))]
NUMBER = re.compile(r"-?\d+\.\d+")
# accuracies and thresholds depend on how a machine rounds while training; an eighth or three points is more than that
SLACK, POINTS = 0.125, 3.0


def allowed(promised: float) -> float:
    return max(SLACK * abs(promised), 0.1 if promised < 10 else POINTS)


def close(printed: str, promised: str) -> bool:
    """The same text, its decimal fractions nearly so."""
    if NUMBER.sub("#", printed).split() != NUMBER.sub("#", promised).split():
        return False
    pairs = zip(NUMBER.findall(printed), NUMBER.findall(promised), strict=True)
    return all(abs(float(a) - float(b)) <= allowed(float(b)) for a, b in pairs)


def test_every_python_block_is_followed_by_what_it_prints():
    assert len(PROGRAMS) == README.count("```python") >= 2


@pytest.mark.parametrize("program, promised", PROGRAMS, ids=[f"block{i}" for i in range(len(PROGRAMS))])
def test_python_blocks_print_what_the_readme_says(program, promised, tmp_path, monkeypatch):
    pytest.importorskip("sklearn", reason="the README's example uses scikit-learn's digits")
    pytest.importorskip("matplotlib", reason="one of the README's examples draws a page")
    # some write files
    monkeypatch.chdir(tmp_path)
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(program, "README.md", "exec"), {})
    assert close(printed.getvalue(), promised), printed.getvalue()


def test_a_different_output_is_noticed():
    _, promised = PROGRAMS[0]
    assert close(promised, promised)
    assert not close(promised.replace("dense", "sparse"), promised)
    assert not close(NUMBER.sub(lambda m: str(float(m.group()) + 5), promised), promised)


def test_make_targets_of_the_readme_exist():
    targets = set(re.findall(r"make (\w+)", README))
    assert {"demo", "test", "bench"} <= targets
    for target in targets:
        done = subprocess.run(["make", "--dry-run", target], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_command_lines_of_the_readme_parse(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    lines = [line.split()[1:] for line in COMMANDS if line.startswith("fastsnn ")]
    assert {words[0] for words in lines} >= {"train", "eval", "profile", "compare", "info"}
    assert main(["info"]) == 0
    # the files they name do not exist: each gets past the parsing, and says which file it misses
    for words in lines:
        if words[0] in ("demo", "train", "eval", "reproduce", "profile", "compare"):
            assert main(words) == 2
            assert re.search("[Nn]o such file|yourfile.py|nothing is downloaded", capsys.readouterr().err)


def test_the_speed_table_is_that_of_the_rows():
    command = [sys.executable, ROOT / "benchmarks" / "table.py", "--check", "--device", "amd-epyc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_links_of_the_readme_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
