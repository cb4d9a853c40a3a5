"""The rest of the network: a proxy, a place where connections vanish, a resolver that is silent."""

import base64
import contextlib
import select
import socket
import subprocess
import threading
from collections.abc import Mapping

_RECEIVE_BYTES = 1 << 16


def black_hole(address: str, port: int = 443) -> list[socket.socket]:
    """Make an address at which connections are neither made nor refused.

    A listener that accepts nobody: once its queue is full, Linux drops what else comes to it.
    Returns what has to be kept open.
    """
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
    listener.bind((address, port))
    listener.listen(0)
    kept = [listener]
    for _ in range(4):
        waiting = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        waiting.setblocking(False)
        waiting.connect_ex((address, port))
        kept.append(waiting)
    return kept


class Elsewhere:
    """Listens at every address that is nobody's, at the ports of the web, and counts who comes.

    All of IPv4 is made this machine: what is sent to an address without a name arrives here too.
    """

    def __init__(self) -> None:
        route = ("ip", "route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "local")
        subprocess.run(route, check=True)
        self._listeners = [self._listen(port) for port in (80, 443)]

    def _listen(self, port: int) -> socket.socket:
        listener = socket.socket()
        # Shared with the listeners at one address each, which the kernel prefers.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind(("0.0.0.0", port))
        listener.listen(64)
        listener.setblocking(False)
        return listener

    def count(self) -> int:
        """Count the connections that have been made so far."""
        count = 0
        for listener in self._listeners:
            with contextlib.suppress(BlockingIOError):
                while True:
                    listener.accept()[0].close()
                    count += 1
        return count


def silent_resolver(address: str = "127.0.0.53") -> tuple[socket.socket, list[str]]:
    """Listen where a resolver would, and answer nothing; the names that are asked for are kept."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    listener.bind((address, 53))
    asked: list[str] = []

    def listen() -> None:
        with contextlib.suppress(OSError):
            while True:
                question, _ = listener.recvfrom(512)
                asked.append(_name_in(question))

    threading.Thread(target=listen, daemon=True).start()
    return listener, asked


def _name_in(question: bytes) -> str:
    """Read the name out of a DNS question. Source: RFC 1035, section 4.1.2."""
    labels, place = [], 12
    while place < len(question) and question[place]:
        length = question[place]
        labels.append(question[place + 1 : place + 1 + length].decode("ascii", "replace"))
        place += 1 + length
    return ".".join(labels)


class Proxy:
    """A proxy that opens tunnels by CONNECT; one with a password refuses who has none."""

    def __init__(self, hosts: Mapping[str, str], *, password: str = "", port: int = 3128) -> None:
        self._hosts = hosts
        self._password = password
        self.tunnels: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", port))
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._tunnel, args=(client,), daemon=True).start()

    def _tunnel(self, client: socket.socket) -> None:
        with client, contextlib.suppress(OSError):
            head = b""
            while b"\r\n\r\n" not in head:
                piece = client.recv(_RECEIVE_BYTES)
                if not piece:
                    return
                head += piece
            target = head.split(b" ")[1].decode()
            host, _, port = target.rpartition(":")
            self.tunnels.append(host)
            allowed = base64.b64encode(f"m43:{self._password}".encode())
            if self._password and allowed not in head:
                client.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
                return
            with socket.create_connection((self._hosts[host], int(port))) as server:
                client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                _join(client, server)


def _join(one: socket.socket, other: socket.socket) -> None:
    others = {one: other, other: one}
    while True:
        ready, _, _ = select.select([one, other], [], [])
        for end in ready:
            piece = end.recv(_RECEIVE_BYTES)
            if not piece:
                return
            others[end].sendall(piece)
