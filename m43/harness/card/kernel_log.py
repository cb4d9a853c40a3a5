"""The kernel's log, as far as it tells of the card: the lines that NVIDIA's driver writes there.

It may be read where `kernel.dmesg_restrict` is 0, or by root; a container mostly has none.
"""

import os
import re
from collections.abc import Iterator
from pathlib import Path

from m43.text import one_line

KMSG = Path("/dev/kmsg")
_OF_THE_CARD = re.compile(r"NVRM: .*(?:\bXid\b|fallen off the bus)")
# "6,1234,5678901,-;message": level, number, microseconds since the machine's start.
# Source: Linux, Documentation/ABI/testing/dev-kmsg.
_RECORD = re.compile(r"\d+,\d+,(?P<us>\d+),[^;]*;(?P<message>.*)")
# The log's clock and the system's differ by a little; a fault announces itself before an end.
_SLACK_S = 5.0
_MOST_BYTES, _MOST_LINES, _LONGEST_LINE = 16 << 20, 20, 200


def card_lines(since_s: float, kmsg: Path = KMSG) -> tuple[tuple[str, ...], str]:
    """Read what the driver wrote of a card since a moment, and say why it cannot be read.

    Args:
        since_s: The moment, as `time.monotonic` tells it, which counts as the log does.
        kmsg: The log.

    Returns:
        The last lines, and an empty text or the reason why there can be none.
    """
    try:
        text = b"".join(_pieces(kmsg)).decode("utf-8", "replace")
    except OSError as error:
        return (), f"{error.strerror or type(error).__name__} ({kmsg})"
    records = filter(None, map(_RECORD.match, text.splitlines()))
    lines = [
        one_line(record["message"], _LONGEST_LINE)
        for record in records
        if int(record["us"]) >= (since_s - _SLACK_S) * 1e6 and _OF_THE_CARD.search(record[0])
    ]
    return tuple(lines[-_MOST_LINES:]), ""


def _pieces(kmsg: Path) -> Iterator[bytes]:
    """Give the log record by record, from its oldest to its newest."""
    file = os.open(kmsg, os.O_RDONLY | os.O_NONBLOCK)
    try:
        for _ in range(_MOST_BYTES >> 8):
            try:
                piece = os.read(file, 1 << 13)
            except BlockingIOError:
                return  # that was the newest
            except BrokenPipeError:
                continue  # the kernel has written over the next one; it goes on with a later one
            if not piece:
                return
            yield piece
    finally:
        os.close(file)
