"""The stand-in's own eyes: what a command sends elsewhere or leaves behind is seen."""

import sys

import pytest

from tests.world.circumstances import BAD, GOOD, STORAGE
from tests.world.engineer import Engineer
from tests.world.namespace import require_namespaces

pytestmark = pytest.mark.quick

_SPEAKS = """
import socket, threading
socket.create_connection(("203.0.113.5", 443), 5).close()
asking = threading.Thread(target=lambda: socket.getaddrinfo("example.org", 443), daemon=True)
asking.start()
asking.join(1)
"""
_LEAVES = """
import subprocess
subprocess.Popen(["sleep", "600"], start_new_session=True)
"""
_MEETS_NOBODY = f"""
import socket
try:
    socket.create_connection(("{STORAGE}", 443), 2)
except TimeoutError:
    print("no answer")
"""


def test_what_is_sent_elsewhere_and_what_is_left_is_seen(engineer: Engineer) -> None:
    """An address without a name, a name that nobody knows, a process that outlives its parent."""
    speaks, leaves = ([sys.executable, "-c", code] for code in (_SPEAKS, _LEAVES))
    report = engineer.go(GOOD[0], speaks, leaves)
    assert [ended.status for ended in report.ended] == [0, 0]
    assert report.elsewhere == 1
    assert report.asked_resolver
    assert [words.split()[0] for words in report.left] == ["sleep"]


def test_connections_to_a_black_hole_are_neither_made_nor_refused(engineer: Engineer) -> None:
    """Refused would be another world: that one answers."""
    world = next(each for each in BAD if each.name == "storage black-holed")
    report = engineer.go(world, [sys.executable, "-c", _MEETS_NOBODY])
    assert report.ended[0].output == "no answer\n"


def test_a_machine_without_namespaces_is_told_what_it_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It fails in one sentence; a skipped test would look like a kept promise."""
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(AssertionError, match="expected the right to make network, mount"):
        require_namespaces()
