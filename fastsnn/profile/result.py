"""What a profile is to its user: something to print, to save as JSON or HTML, and to load again."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import cast

from fastsnn._extras import need
from fastsnn._files import read_json, require_file, write_json, write_text
from fastsnn.profile.schema import SCHEMA, VERSION, Document

SUFFIXES = (".json", ".html")


def require_outputs(paths: Iterable[str | Path], suffixes: Sequence[str] = SUFFIXES) -> list[Path]:
    """The paths, after a check that each can be written, and that a page can be drawn where one is wanted.

    Raises ValueError where a file cannot be written, MissingExtra where matplotlib is not installed.
    """
    found = [require_file(path, suffixes) for path in paths]
    if any(path.suffix == ".html" for path in found):
        need("matplotlib.figure", "the HTML page")
    return found


class Profile:
    """A profile: `document` holds everything, as `fastsnn.profile.schema.Document` says; str() is a table."""

    def __init__(self, document: Document) -> None:
        self.document = document

    @property
    def partial(self) -> str | None:
        """What was not done, where the run was interrupted; None where it is whole."""
        return self.document["partial"]

    def save(self, path: str | Path) -> Path:
        """Writes the file whole or not at all: the document (.json), or a page to look at (.html).

        Raises ValueError for another ending, or a place where nothing can be written.
        """
        (path,) = require_outputs([path])
        if path.suffix == ".json":
            write_json(path, self.document)
        else:
            from fastsnn.profile.html import render

            write_text(path, render(self.document))
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Profile":
        """Reads a document that `save` wrote. Raises ValueError for any other file, or another version."""
        found = read_json(Path(path), "profile", SCHEMA, VERSION, Document.__required_keys__)
        return cls(cast(Document, found))

    def __str__(self) -> str:
        from fastsnn.profile.table import text

        return text(self.document)

    def __repr__(self) -> str:
        network = self.document["network"]
        images = self.document["conditions"]["images"]
        return f"Profile({network['name']}, T={network['timesteps']}, {images} images, partial={self.partial!r})"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a profile; `profile` holds what was done until then, marked partial."""

    def __init__(self, profile: Profile) -> None:
        super().__init__(profile.partial)
        self.profile = profile
