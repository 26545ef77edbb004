"""A Kubernetes Service on loopback: sends each new connection to a ready server, and keeps existing connections."""

from __future__ import annotations

import contextlib
import itertools
import socket
import threading
from collections import Counter


class Service:
    """Forwards TCP connections until `close`.

    Attributes:
        ready: host:port of the servers that get new connections; a test changes it as Kubernetes does.
        url: its own host:port.
    """

    def __init__(self, *ready: str) -> None:
        self.ready = list(ready)
        self._turns = itertools.count()
        self._open: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._listening = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"127.0.0.1:{self._listening.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def connections(self, server: str) -> int:
        """Number of open connections to a server."""
        with self._lock:
            return self._open[server]

    def close(self) -> None:
        self._listening.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listening.accept()
            except OSError:
                return
            server = self.ready[next(self._turns) % len(self.ready)]
            host, _, port = server.rpartition(":")
            behind = socket.create_connection((host, int(port)))
            with self._lock:
                self._open[server] += 1
            ends = threading.Semaphore(0)
            for source, sink in ((client, behind), (behind, client)):
                threading.Thread(target=_pump, args=(source, sink, ends), daemon=True).start()
            threading.Thread(target=self._end, args=(server, client, behind, ends), daemon=True).start()

    def _end(self, server: str, client: socket.socket, behind: socket.socket, ends: threading.Semaphore) -> None:
        for _ in range(2):
            ends.acquire()
        client.close()
        behind.close()
        with self._lock:
            self._open[server] -= 1


def _pump(source: socket.socket, sink: socket.socket, ended: threading.Semaphore) -> None:
    try:
        while data := source.recv(1 << 16):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    except OSError:  # either side has closed
        for end in (source, sink):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
    finally:
        ended.release()
