"""The folder that keeps audits for the next calibration: manifest.jsonl and pictures. docs/gate.md defines the format.

Several processes write to one folder. Each appends whole lines under a lock, and a picture appears under its name only
when it is complete. Nothing here raises: what cannot be written is reported once, and the folder is closed.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import math
import os
import secrets
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from littlebig_settings import BadSetting, GateSettings

if TYPE_CHECKING:
    from littlebig_audit import Prediction
    from littlebig_images import Pixels

VERSION = 1
_MANIFEST, _PICTURES = "manifest.jsonl", "pictures"
_IMAGE_RECORD = b'{"record": "image"'
_LOST = ("dropped", "failed", "unwritten", "full")
_COUNTS_EVERY_S = 60.0


def describe_run(repository: Path, settings: GateSettings, dims: Sequence[int]) -> dict[str, object]:
    """The fields of a run's record: what is sampled, how, and from which weights.

    Args:
        repository: that is served.
        settings: the gate's.
        dims: H, W, 3.

    Raises:
        BadSetting: if the repository does not say which weights it has.
    """
    try:
        stages = json.loads((repository / "littlebig.json").read_bytes())["stages"]
        weights = {stage: stages[stage]["weights"]["sha256"] for stage in ("little", "big")}
    except (OSError, ValueError, KeyError):
        raise BadSetting(
            "parameter 'audit_folder' needs littlebig.json beside the models, which names their weights: export again"
        ) from None
    calibration = repository / "calibration.json"
    return {
        "audit_rate": settings.audit_rate,
        "audit_rows": settings.audit_rows,
        "score": settings.score,
        "threshold": settings.threshold,
        "image": [int(size) for size in dims],
        "weights": weights,
        "calibration": hashlib.sha256(calibration.read_bytes()).hexdigest() if calibration.exists() else None,
    }


class AuditFolder:
    """A run of one gate instance, as the folder keeps it. Safe to use from any thread.

    Args:
        folder: made if it does not exist.
        max_rows: most audits in it, of all runs.
        about: fields of the record `run`, from `describe_run`.
        log: called with one line when the folder is full or cannot be written.
        count: called for each audit with `kept` or the reason of its loss.

    Attributes:
        is_open: whether audits are kept now.
    """

    def __init__(
        self,
        folder: Path,
        max_rows: int,
        about: Mapping[str, object],
        log: Callable[[str], None],
        count: Callable[[str], None] = lambda outcome: None,
    ) -> None:
        """Begin a run; the folder is made with the first record."""
        self.is_open = True
        self._folder, self._max_rows, self._about, self._log, self._count = folder, max_rows, about, log, count
        self._counts_lock, self._write_lock = threading.Lock(), threading.Lock()
        self._file: int | None = None  # inode of the manifest that has this run's record
        self._rows, self._read = 0, 0  # rows of the manifest in its first bytes
        self._failed = False
        self._next_counts = 0.0
        self._begin()

    def count(self, **amounts: int) -> None:
        """Add to the run's counts: `seen`, `chosen`, or a reason of loss."""
        with self._counts_lock:
            self._counts.update(amounts)
        for outcome in amounts:
            if outcome in _LOST:
                self._count(outcome)

    def keep(self, image: Pixels, little: Prediction, big: Prediction) -> None:
        """Write an audit, with its picture if the stages disagree.

        Args:
            image: uint8 [H, W, 3].
            little: its answer.
            big: its answer.
        """
        if not self.is_open:
            self.count(**{"unwritten" if self._failed else "full": 1})
            return
        disagree = little.label != big.label
        try:
            with self._write_lock, self._manifest() as manifest:
                if self._rows >= self._max_rows:
                    self.is_open = False
                    self._log(f"audit folder '{self._folder}' has its {self._max_rows} rows: move it away to go on")
                    self.count(full=1)
                    return
                picture, problem = self._write_picture(image) if disagree else (None, None)
                fields = {"little": _fields(little), "big": _fields(big), "picture": picture}
                self._append(manifest, "image", fields)
                if problem is not None:  # the row says that its picture is lost
                    raise problem
        except Exception as problem:  # no caller waits for an audit: whatever it is, answers go on
            self._fail(problem)
            self.count(unwritten=1)
            return
        self._count("kept")
        with self._counts_lock:
            self._counts.update(kept=1, disagreed=int(disagree))

    def poll(self) -> None:
        """Write the counts once a minute while they change, and see whether the folder was moved away."""
        if self._failed or time.monotonic() < self._next_counts:
            return
        self._next_counts = time.monotonic() + _COUNTS_EVERY_S
        self._write_counts()

    def close(self) -> None:
        """End the run."""
        if not self._failed:
            self._write_counts()
        self.is_open = False

    def _begin(self) -> None:
        stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
        self._run = f"{stamp}-{secrets.token_hex(4)}"
        self._counts: Counter[str] = Counter()
        self._written: Counter[str] = Counter()
        self._next_counts = time.monotonic() + _COUNTS_EVERY_S

    def _write_counts(self) -> None:
        try:
            with self._write_lock:
                if self._file is None:
                    return
                if self._is_moved():  # the next audit begins a folder, with a run of its own
                    self.is_open, self._file = True, None
                    self._begin()
                    return
                counts = Counter(self._counts)
                if counts == self._written:
                    return
                lost = {reason: counts[reason] for reason in _LOST}
                names = ("seen", "chosen", "kept", "disagreed")
                with self._manifest() as manifest:
                    self._append(manifest, "counts", {**{name: counts[name] for name in names}, "lost": lost})
                self._written = counts
        except Exception as problem:
            self._fail(problem)

    def _is_moved(self) -> bool:
        try:
            return os.stat(self._folder / _MANIFEST).st_ino != self._file
        except FileNotFoundError:
            return True

    @contextmanager
    def _manifest(self) -> Iterator[io.FileIO]:
        """The manifest for this process alone, with this run's record in it and its rows counted."""
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        (self._folder / _PICTURES).mkdir(mode=0o700, exist_ok=True)
        with io.FileIO(self._folder / _MANIFEST, "a+", opener=_private) as manifest:
            fcntl.flock(manifest, fcntl.LOCK_EX)  # closing the file lets it go
            inode = os.fstat(manifest.fileno()).st_ino
            is_new = inode != self._file
            if is_new:
                if self._file is not None:  # the folder was moved away
                    self._begin()
                self._file, self._rows, self._read = inode, 0, 0
            manifest.seek(self._read)
            added = manifest.readall()
            whole = added.rfind(b"\n") + 1
            self._rows += sum(line.startswith(_IMAGE_RECORD) for line in added[:whole].splitlines())
            self._read += whole
            if is_new:
                self._append(manifest, "run", {"version": VERSION, **self._about})
            yield manifest

    def _append(self, manifest: io.FileIO, record: str, fields: Mapping[str, object]) -> None:
        head = {"record": record, "run": self._run, "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
        line = (json.dumps({**head, **fields}, allow_nan=False) + "\n").encode()
        end = manifest.seek(0, os.SEEK_END)
        if end:
            manifest.seek(end - 1)
            if manifest.read(1) != b"\n":  # a crash has cut the line before
                line = b"\n" + line
        if manifest.write(line) != len(line):
            raise OSError("only a part of a line could be written")

    def _write_picture(self, image: Pixels) -> tuple[str | None, OSError | None]:
        """The picture's name, relative to the folder, or why it could not be written."""
        from PIL import Image  # noqa: PLC0415 - only gates that keep audits need it

        name = f"{_PICTURES}/{hashlib.sha256(image.tobytes()).hexdigest()[:32]}.png"
        path = self._folder / name
        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        part = path.with_suffix(f".{self._run}")
        try:
            with open(part, "wb", opener=_private) as file:
                file.write(buffer.getvalue())
            part.replace(path)
        except OSError as problem:
            part.unlink(missing_ok=True)
            return None, problem
        return name, None

    def _fail(self, problem: Exception) -> None:
        """Keep no more: small lines would still fit where pictures do not, and the sample would not be uniform."""
        if not self._failed:
            self._failed, self.is_open = True, False
            self._log(f"audit folder '{self._folder}' cannot be written, so no more audits are kept: {problem}")


def _private(path: str, flags: int) -> int:
    """Open a file that only this user can read."""
    return os.open(path, flags, 0o600)


def _fields(prediction: Prediction) -> dict[str, Any]:
    return {
        "class": prediction.label,
        "confidence": _number(prediction.confidence),
        "margin": _number(prediction.margin),
    }


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
