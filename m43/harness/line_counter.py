"""The line counter: follows a file that somebody else is writing, and counts its whole lines."""

from pathlib import Path

from m43 import typed_json


class LineCounter:
    """Counts the records that were appended to a file of JSON Lines, by reading each of them."""

    def __init__(self, path: Path, cls: type) -> None:
        self._path = path
        self._cls = cls
        self._position = 0
        self._rest = b""
        self.count = 0

    def look(self) -> int:
        """Read what is new and return the count so far; a line that is no record does not count."""
        try:
            with self._path.open("rb") as file:
                file.seek(self._position)
                piece = file.read()
        except FileNotFoundError:
            return self.count
        self._position += len(piece)
        *lines, self._rest = (self._rest + piece).split(b"\n")
        for line in lines:
            value, _ = typed_json.parse(self._cls, line.decode(errors="replace"), self._path.name)
            self.count += value is not None
        return self.count
