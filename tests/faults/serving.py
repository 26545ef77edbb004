"""`littlebig serve` under a supervisor that starts it again, with its processes by name and /dev/shm of its own."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

from littlebig_benchmarks.processes import role
from littlebig_export.exporting import export_pair
from littlebig_export.pair import load_pair
from tests.tiny_pair import write_tiny_pair

MODELS = ("little", "big", "little_big", "preprocess")
INSTANCES = 2
SHARED_MEMORY_MIB = 256
_PORTS = {"gRPC": "--grpc-port", "HTTP": "--http-port", "metrics": "--metrics-port"}
# A mount namespace of its own, by root's right or in a user namespace: what fills /dev/shm there takes nothing from other
# processes.
_NAMESPACES = (("unshare", "--mount"), ("unshare", "--map-root-user", "--mount"))
_MOUNT = f'mount -t tmpfs -o size={SHARED_MEMORY_MIB}m,mode=1777 private /dev/shm && exec "$@"'


def private_shared_memory():
    """The begin of a command line that gives the command a /dev/shm of its own; empty where that is not allowed."""
    for namespace in _NAMESPACES if shutil.which("unshare") else ():
        prefix = [*namespace, "--", "sh", "-c", _MOUNT, "sh"]
        if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0:
            return prefix
    return []


def write_repository(folder):
    """A repository of the tiny pair with INSTANCES processes per model, whatever the number of cores; returns its path."""
    repository = Path(folder) / "models"
    export_pair(load_pair(str(write_tiny_pair(Path(folder)))), "cpu", repository)
    for model in MODELS:
        config = repository / model / "config.pbtxt"
        text, changes = re.subn(r"count: \d+", f"count: {INSTANCES}", config.read_text())
        assert changes == 1, f"{model} has {changes} counts of instances"
        config.write_text(text)
    return repository


@dataclass
class Exit:
    """One end of the command that nobody asked for.

    Attributes:
        at: time.monotonic() of it.
        code: its exit code, negative if a signal ended it.
        reason: its last line on stderr.
    """

    at: float
    code: int
    reason: str


class Service:
    """`littlebig serve`, started again on the same ports whenever it exits, inside a `with` statement.

    Attributes:
        grpc_url: HOST:PORT.
        http_url: HOST:PORT.
        exits: ends of the command that nobody asked for.
    """

    def __init__(self, repository, folder, words=()):
        """Keep the arguments.

        Args:
            repository: the model repository to serve.
            folder: for the logs, one file per start.
            words: further words of the command line.
        """
        self._repository, self._folder, self._words = repository, Path(folder), words
        self._private = private_shared_memory()
        self._ports, self._urls, self._starts = dict.fromkeys(_PORTS, "0"), {}, 0
        self.exits, self._seen = [], set()
        self._over, self._ready = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._supervise)

    def __enter__(self):
        self._thread.start()
        if not self._ready.wait(180) or self._over.is_set():
            self.__exit__()
            raise AssertionError(f"littlebig serve did not start: {self.log()[-5:]}")
        return self

    def __exit__(self, *_):
        self._over.set()
        for process in self._all():
            self._signal(process, signal.SIGCONT)
        # Quicker than a clean stop, which has a row of its own: the keeper and the command clean up after it, too.
        for process in self.processes().get("tritonserver", ()):
            self._signal(process, signal.SIGKILL)
        self._thread.join(60)
        for process in self._all():
            self._signal(process, signal.SIGKILL)
        self._thread.join(60)

    @property
    def grpc_url(self):
        return self._urls["gRPC"]

    @property
    def http_url(self):
        return self._urls["HTTP"]

    def log(self):
        """Lines of all starts on stderr, Triton's included."""
        files = sorted(self._folder.glob("serve-*.log"))
        return [line for file in files for line in file.read_text(errors="replace").splitlines()]

    def processes(self):
        """Name -> its living processes, oldest first: serve, keeper, tritonserver and the models."""
        found = {}
        for process in self._all():
            with contextlib.suppress(psutil.NoSuchProcess):
                name = self._name(process)
                if name and process.status() != psutil.STATUS_ZOMBIE:
                    found.setdefault(name, []).append(process)
        return {name: sorted(found[name], key=lambda process: process.pid) for name in sorted(found)}

    def restart(self):
        """Stop the command as a supervisor does, with SIGTERM; it is started again."""
        os.kill(self._process.pid, signal.SIGTERM)

    @property
    def is_private(self):
        """Whether the command has a /dev/shm of its own."""
        return bool(self._private)

    @property
    def shared_memory(self):
        """The command's own /dev/shm, as a path that other processes can use."""
        return Path(f"/proc/{self._process.pid}/root/dev/shm")

    def _supervise(self):
        while not self._over.is_set():
            self._starts += 1
            log = self._folder / f"serve-{self._starts:02}.log"
            with log.open("w") as stderr:
                self._process = subprocess.Popen(self._command(), stdout=subprocess.PIPE, stderr=stderr, text=True)
            with self._process as process:
                self._read_endpoints(process)
                code = process.wait()
            lines = log.read_text(errors="replace").splitlines() or ["no word"]
            self.exits.append(Exit(time.monotonic(), code, lines[-1]))
            if not self._ready.is_set():  # the first start failed
                self._over.set()
                self._ready.set()
            self._over.wait(0.2)

    def _command(self):
        command = [sys.executable, "-m", "littlebig_cli", "serve", "--repository", str(self._repository)]
        for name, option in _PORTS.items():
            command += [option, self._ports[name]]
        command += ["--exit-timeout", "5", *self._words]
        return [*self._private, *command]

    def _read_endpoints(self, process):
        for line in process.stdout:
            name, _, url = line.strip().partition(" ")
            if name in _PORTS:
                self._urls[name] = re.sub("^http://|/metrics$", "", url.strip())
                self._ports[name] = self._urls[name].rpartition(":")[2]
            if line.startswith("stop with"):
                self._ready.set()

    def _all(self):
        """Every process of this and earlier starts that still exists."""
        with contextlib.suppress(AttributeError, psutil.NoSuchProcess):
            serve = psutil.Process(self._process.pid)
            self._seen |= {serve, *serve.children(recursive=True)}
        self._seen = {process for process in self._seen if process.is_running()}
        return list(self._seen)

    def _name(self, process):
        command = process.cmdline()
        if process.pid == self._process.pid:
            return "serve"
        if any(word.endswith("keeper.py") for word in command):
            return "keeper"
        name = role(command)
        return name if name in MODELS or (command and Path(command[0]).name == name) else None

    @staticmethod
    def _signal(process, number):
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(number)
