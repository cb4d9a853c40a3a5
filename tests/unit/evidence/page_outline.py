"""The outline of a page: its blocks and their words, without style, script and drawings.

Two writers of the same page agree in it, whatever they call their classes.
"""

import re
from html.parser import HTMLParser

_BLOCKS = (
    *("header", "nav", "main", "section", "footer", "form", "h1", "h2", "h3", "p", "pre", "div"),
    *("ul", "ol", "li", "dl", "dt", "dd", "details", "summary"),
    *("table", "caption", "thead", "tbody", "tr"),
)
_CELLS = ("th", "td")
_UNREAD = ("style", "script", "svg", "head")
# Of a long table the first rows show what a row is.
_MOST_ROWS = 12


def outline(page: str) -> str:
    """Return a line for each block of a page, indented as they lie in each other.

    Example:
        >>> print(outline('<p>Two <b>words</b></p><ul><li id="a">One</li></ul>'), end="")
        p: Two words
        ul:
          li#a: One
    """
    reader = _Reader()
    reader.feed(page)
    reader.close()
    return "".join(f"{line.rstrip()}\n" for line in reader.lines)


class _Reader(HTMLParser):
    """Collects the lines."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []
        self._open: list[str] = []
        self._unread = ""
        self._depth = 0
        self._rows: list[int] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Begin a line, or a cell of one."""
        values = dict(attrs)
        if self._unread:
            self._depth += tag == self._unread
        elif tag in _UNREAD:
            self._unread, self._depth = tag, 1
            if tag == "svg":
                self._say(f"[drawing: {values.get('aria-label') or ''}]")
        elif tag in _BLOCKS:
            self._begin(tag, values.get("id") or "")
        elif tag in _CELLS:
            self._say(" | ")
        elif tag == "a" and (values.get("href") or "").startswith("#"):
            self._say(f" <{values['href']}> ")
        elif tag == "br":
            self._say(" / ")

    def handle_endtag(self, tag: str) -> None:
        """End a line."""
        if self._unread:
            self._depth -= tag == self._unread
            self._unread = self._unread if self._depth else ""
        elif tag in _BLOCKS and self._open:
            self._open.pop()
            if tag == "table":
                more = self._rows.pop() - _MOST_ROWS
                if more > 0:
                    self.lines.append(f"{'  ' * (len(self._open) + 1)}and {more} more rows")

    def handle_data(self, data: str) -> None:
        """Take words into the line that is open."""
        if not self._unread:
            self._say(data)

    def _begin(self, tag: str, name: str) -> None:
        if tag == "table":
            self._rows.append(0)
        if tag == "tr" and self._rows:
            self._rows[-1] += 1
        self._open.append(tag)
        if not self._hidden():
            anchor = f"#{name}" if name else ""
            self.lines.append(f"{'  ' * (len(self._open) - 1)}{tag}{anchor}: ")

    def _say(self, text: str) -> None:
        words = re.sub(r"\s+", " ", text)
        if self.lines and not self._hidden() and words.strip():
            self.lines[-1] += words if self.lines[-1][-1] != " " else words.lstrip()

    def _hidden(self) -> bool:
        return "tr" in self._open and bool(self._rows) and self._rows[-1] > _MOST_ROWS
