"""Two hosts on this machine: each a network, a name, an /etc/hosts and processes of its own; root.

They share the file system, the kernel and the clock; the link between them can be cut and slowed.
"""

import contextlib
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

NAMES = ("m43-first", "m43-second")
ADDRESSES = ("10.43.0.1", "10.43.0.2")
COORDINATOR = f"{NAMES[0]}:28476"
_LINKS = ("m43-link0", "m43-link1")
# A process number in one is none in the other, and no signal crosses: as between hosts.
_ENTER = ("--mount", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc")


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


class TwoHosts:
    """The link between them, and the words that enter each."""

    def __init__(self, folder: Path) -> None:
        self._names = folder / "hosts"
        told = [f"{each} {name}" for each, name in zip(ADDRESSES, NAMES, strict=True)]
        self._names.write_text("\n".join(["127.0.0.1 localhost", *told, ""]))

    def words(self, number: int) -> tuple[str, ...]:
        """Return what stands before a command that is to run on one of them."""
        enter = 'hostname "$1"; mount --bind "$2" /etc/hosts; shift 2; exec "$@"'
        # The first has pytest, whose signals the test sends by the number that it knows.
        apart = _ENTER if number else _ENTER[:2]
        within = ("ip", "netns", "exec", NAMES[number], "unshare", *apart)
        return (*within, "sh", "-c", enter, "sh", NAMES[number], str(self._names))

    def cut(self) -> None:
        """Take the link away."""
        _ip("-n", NAMES[1], "link", "set", _LINKS[1], "down")

    def join(self) -> None:
        """Have the link again."""
        _ip("-n", NAMES[1], "link", "set", _LINKS[1], "up")

    def slow(self, rate: str) -> None:
        """Let no more through than that, both ways."""
        for name, link in zip(NAMES, _LINKS, strict=True):
            words = ["dev", link, "root", "tbf", "rate", rate, "burst", "16kb", "latency", "200ms"]
            subprocess.run(["tc", "-n", name, "qdisc", "add", *words], check=True)


@contextlib.contextmanager
def two_hosts(folder: Path) -> Iterator[TwoHosts]:
    """Have two hosts, and take them away."""
    _remove()
    try:
        for name in NAMES:
            _ip("netns", "add", name)
            _ip("-n", name, "link", "set", "lo", "up")
        first, second = _LINKS
        _ip("link", "add", first, "netns", NAMES[0], "type", "veth", "peer", "name", second,
            "netns", NAMES[1])  # fmt: skip
        for name, link, address in zip(NAMES, _LINKS, ADDRESSES, strict=True):
            _ip("-n", name, "addr", "add", f"{address}/24", "dev", link)
            _ip("-n", name, "link", "set", link, "up")
        yield TwoHosts(folder)
    finally:
        _remove()


def _remove() -> None:
    for name in NAMES:
        if os.path.lexists(f"/run/netns/{name}"):
            _ip("netns", "del", name)
