"""Steps of `make gpu`: programs with a time limit, several at a time where they only compile or test."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

# between looks at the programs that run
TICK = 0.1
OK, FAILED, LATE = "ok", "failed", "out of time"


@dataclass(frozen=True)
class Step:
    """A program.

    seconds   it may take; a part that looks at the clock itself gets some more before it is stopped
    after     the step that has to be over before, by name
    weight    how many processors it keeps busy
    optional  being out of time is no failure: it only prepares
    quiet     which exit status, beside 0, is no failure (pytest: 5, no tests found)
    """

    name: str
    command: Sequence[str]
    seconds: float
    after: str = ""
    weight: int = 1
    optional: bool = False
    quiet: tuple[int, ...] = ()
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a step ended, after how many seconds, and where its output is."""

    step: Step
    verdict: str
    seconds: float
    log: Path

    @property
    def failed(self) -> bool:
        return self.verdict == FAILED or (self.verdict == LATE and not self.step.optional)

    def tail(self, lines: int = 12) -> list[str]:
        return self.log.read_text(errors="replace").splitlines()[-lines:] if self.log.is_file() else []


Say = Callable[[str], None]


def together(
    steps: Sequence[Step], logs: Path, until: float, processors: int, environment: dict[str, str], say: Say
) -> list[Outcome]:
    """Runs steps, in order as far as there are processors for them; those that have not ended by `until` are late.

    until        in seconds of time.monotonic()
    environment  of all of them; a step's own comes on top
    """
    logs.mkdir(parents=True, exist_ok=True)
    waiting, running, over = list(steps), {}, {}
    try:
        while waiting or running:
            now = time.monotonic()
            for name, (step, process, start, log) in list(running.items()):
                status = process.poll()
                late = now >= min(until, start + step.seconds)
                if status is None and not late:
                    continue
                if status is None:
                    _stop(process)
                verdict = LATE if status is None else OK if status in (0, *step.quiet) else FAILED
                over[name] = Outcome(step, verdict, now - start, log)
                del running[name]
                _tell(over[name], say)
            busy = sum(step.weight for step, *_ in running.values())
            for step in list(waiting):
                if now >= until:
                    waiting.remove(step)
                    over[step.name] = Outcome(step, LATE, 0.0, logs / "none")
                    _tell(over[step.name], say)
                elif (not step.after or step.after in over) and (busy == 0 or busy + step.weight <= processors):
                    waiting.remove(step)
                    running[step.name] = _start(step, logs, environment)
                    busy += step.weight
            if waiting or running:
                time.sleep(TICK)
    finally:
        for _, process, *_ in running.values():
            _stop(process)
    return [over[step.name] for step in steps]


def _start(step: Step, logs: Path, environment: dict[str, str]) -> tuple[Step, subprocess.Popen, float, Path]:
    log = logs / ("".join(c if c.isalnum() else "-" for c in step.name) + ".log")
    with log.open("w") as output:
        try:
            # a session of its own, so that what it starts can be stopped with it
            process = subprocess.Popen(
                step.command,
                stdout=output,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                env=environment | step.environment,
                start_new_session=True,
            )
        except OSError as error:
            output.write(f"{error}\n")
            process = subprocess.Popen(["false"])
    return step, process, time.monotonic(), log


def _stop(process: subprocess.Popen) -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):
        process.kill()
    process.wait()


def _tell(outcome: Outcome, say: Say) -> None:
    lines = outcome.tail(1)
    last = f": {lines[0].strip(' =')[:150]}" if lines else ""
    say(f"{outcome.step.name}: {outcome.verdict} after {outcome.seconds:.0f} s{last}")
    if outcome.failed:
        for line in outcome.tail():
            say(f"    {line[:300]}")
