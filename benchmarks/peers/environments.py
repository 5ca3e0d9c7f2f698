"""Where each peer is installed: in the interpreter that runs this, or in an environment of its own under build/peers.

Such an environment sees all of this interpreter's packages, PyTorch above all, and adds what is pinned here and nothing
else: a version that another peer needs differently never meets it.
"""

import subprocess
import sys
import sysconfig
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
FOLDER = ROOT / "build" / "peers"

# to be pinned in full: pip is told not to look for what they need, which is in this interpreter or in the list
PACKAGES: dict[str, tuple[str, ...]] = {
    "spikingjelly-0.0.0.0.14": ("spikingjelly==0.0.0.0.14",),
    "snntorch": ("snntorch==1.0.0",),
    "norse": ("norse==1.1.0", "nir==1.0.8", "nirtorch==2.6"),
    "sinabs": ("sinabs==3.1.3", "nir==1.0.4", "nirtorch==2.0.2", "pbr==7.1.3", "samna==0.48.6"),
}


def make(peer: str, folder: Path = FOLDER) -> tuple[str, str]:
    """(an interpreter that has the peer, "") or ("", why there is none); makes what is missing."""
    if peer not in PACKAGES:
        return sys.executable, ""
    here = folder / peer
    python, stamp = here / "bin" / "python", here / "installed"
    wanted = "\n".join((sys.executable, *PACKAGES[peer]))
    if stamp.is_file() and stamp.read_text() == wanted:
        return str(python), ""
    if why := _run(sys.executable, "-m", "venv", "--clear", "--without-pip", str(here)):
        return "", why
    shared = sysconfig.get_paths()["purelib"]
    own = sysconfig.get_path("purelib", "venv", {"base": str(here), "platbase": str(here)})
    # addsitedir, unlike a plain path, also reads the .pth files there: that of an editable install is one
    (Path(own) / "shared.pth").write_text(f"import site; site.addsitedir({shared!r})\n")
    pip = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--python", str(python))
    if why := _run(*pip, "install", "--quiet", "--no-deps", *PACKAGES[peer]):
        return "", f"pip install {' '.join(PACKAGES[peer])}: {why}"
    stamp.write_text(wanted)
    return str(python), ""


def ready(peer: str, folder: Path = FOLDER) -> str:
    """The interpreter that has the peer already; empty where `make` would have to make one."""
    if peer not in PACKAGES:
        return sys.executable
    here = folder / peer
    return str(here / "bin" / "python") if (here / "installed").is_file() else ""


def _run(*command: str) -> str:
    """Empty, or the last line that a command which failed has written."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if not done.returncode:
        return ""
    lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith("ERROR")]
    return (errors or lines or ["no reason given"])[-1].removeprefix("ERROR: ")
