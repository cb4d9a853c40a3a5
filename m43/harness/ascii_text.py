"""The ASCII text: any text in characters that every terminal, pipe and log can show."""

from m43.plain_text import visible

# What m43's own texts use; anything else is written as an escape, never left out.
_ASCII = str.maketrans(
    {
        "\N{HORIZONTAL ELLIPSIS}": "...",
        "\N{EN DASH}": "-",
        "\N{EM DASH}": "-",
        "\N{LEFT SINGLE QUOTATION MARK}": "'",
        "\N{RIGHT SINGLE QUOTATION MARK}": "'",
        "\N{LEFT DOUBLE QUOTATION MARK}": '"',
        "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
        "\N{REPLACEMENT CHARACTER}": "?",
    }
)


def ascii_text(text: str) -> str:
    r"""Write a text in ASCII, on one line, without anything that steers a terminal.

    Example:
        >>> ascii_text("export HF_TOKEN=\u2026\x1b[2J")
        'export HF_TOKEN=...?[2J'
    """
    line = " ".join(visible(text).split()).translate(_ASCII)
    return line.encode("ascii", "backslashreplace").decode()
