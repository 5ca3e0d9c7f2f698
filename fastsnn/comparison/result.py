"""What a comparison is to its user: something to print, to draw, to save, and to load again."""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, cast

from fastsnn._extras import need
from fastsnn._files import read_json, require_file, write_figure, write_json
from fastsnn.comparison.schema import SCHEMA, VERSION, Dense, Document, Row

DRAWN = (".png", ".svg", ".pdf")


def require_outputs(paths: Iterable[str | Path]) -> list[Path]:
    """The paths, after a check that each can be written, and that a figure can be drawn where one is wanted.

    Raises ValueError where a file cannot be written, MissingExtra where matplotlib is not installed.
    """
    found = [require_file(path, (".json", *DRAWN)) for path in paths]
    if any(path.suffix in DRAWN for path in found):
        need("matplotlib.figure", "the figure")
    return found


class Comparison:
    """Methods at several T: `rows` for reading, `document` for all of it (`schema.Document`); str() is two tables."""

    def __init__(self, document: Document) -> None:
        self.document = document

    @property
    def rows(self) -> list[Row]:
        """One for each method and T; `failed` says why where there is no result."""
        return self.document["rows"]

    @property
    def dense(self) -> Dense:
        """The network before conversion, on the same images."""
        return self.document["dense"]

    @property
    def partial(self) -> str | None:
        """What was not done, where the run was interrupted; None where it is whole."""
        return self.document["partial"]

    def plot(self) -> Any:
        """A matplotlib Figure: accuracy against T, and against additions an image. No window is opened."""
        from fastsnn.comparison.figure import draw

        return draw(self.document)

    def save(self, path: str | Path) -> Path:
        """Writes the file whole or not at all: the document (.json), or the figure (.png, .svg, .pdf).

        Raises ValueError for another ending, or a place where nothing can be written.
        """
        (path,) = require_outputs([path])
        if path.suffix == ".json":
            write_json(path, self.document)
        else:
            write_figure(path, self.plot())
        return path

    @classmethod
    def load(cls, path: str | Path) -> "Comparison":
        """Reads a document that `save` wrote. Raises ValueError for any other file, or another version."""
        found = read_json(Path(path), "comparison", SCHEMA, VERSION, Document.__required_keys__)
        return cls(cast(Document, found))

    def __str__(self) -> str:
        from fastsnn.comparison.table import text

        return text(self.document)

    def __repr__(self) -> str:
        images = self.document["conditions"]["images"]
        return f"Comparison({self.dense['name']}, {len(self.rows)} rows, {images} images, partial={self.partial!r})"


class Interrupted(KeyboardInterrupt):
    """Ctrl-C during a comparison; `comparison` holds the rows that were finished, marked partial."""

    def __init__(self, comparison: Comparison) -> None:
        super().__init__(comparison.partial)
        self.comparison = comparison
