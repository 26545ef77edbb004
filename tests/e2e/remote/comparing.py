"""Callers that compare every answer with what the stages say, and what happened to them while big was in trouble."""

from __future__ import annotations

import asyncio
import threading
import time
from dataclasses import dataclass

import numpy as np
import onnxruntime
from tritonclient import grpc

CALLERS = 16
DEADLINE = 60
OUTPUTS = ("stage", "label", "confidence")
LITTLE, BIG, BIG_FAILED = 0, 1, 2


@dataclass(frozen=True)
class Images:
    """Images with both stages' answers.

    Attributes:
        pixels: uint8 [images, H, W, 3].
        expected: stage (little, big) -> (labels, confidences).
        threshold: half of the images are unsure at it.
    """

    pixels: np.ndarray
    expected: dict[int, tuple[np.ndarray, np.ndarray]]
    threshold: float

    def unsure(self, row):
        return bool(self.expected[LITTLE][1][row] < self.threshold)


def make_images(graphs, count=64):
    """Random images, and what the stages' graphs say of them."""
    pixels = np.random.default_rng(0).integers(0, 256, (count, 32, 32, 3), np.uint8)
    pixels[:, ::2] //= np.arange(1, count + 1, dtype=np.uint8)[:, None, None, None]  # so that confidences differ
    expected = {}
    for stage, name in ((LITTLE, "little"), (BIG, "big")):
        session = onnxruntime.InferenceSession(str(graphs[name]))
        labels, confidences = session.run(["label", "confidence"], {"image": pixels})
        expected[stage] = (labels.ravel(), confidences.ravel())
    return Images(pixels, expected, float(np.median(expected[LITTLE][1])))


class Comparing:
    """Callers of a gate, from the start of the block to its end."""

    def __init__(self, url, images):
        self._url, self._images = url, images
        self._stop, self._lock = threading.Event(), threading.Lock()
        self._threads = [threading.Thread(target=self._call, args=(number,)) for number in range(CALLERS)]
        self.wrong, self.lost_sure, self.errors, self.log = [], [], [], []

    def __enter__(self):
        for thread in self._threads:
            thread.start()
        self.until(lambda: len(self.log) > 4 * CALLERS, "the callers are answered")
        return self

    def __exit__(self, *_):
        self._stop.set()
        for thread in self._threads:
            thread.join(DEADLINE)

    def until(self, condition, what, seconds=DEADLINE):
        """Wait for a condition; returns the seconds that it took."""
        start, pause = time.monotonic(), threading.Event()
        while not condition():
            assert time.monotonic() - start < seconds, f"{what}: not within {seconds} s"
            pause.wait(0.02)
        return time.monotonic() - start

    def until_full_service(self):
        """Wait until the next images that are sent are all answered by the stage that they need; returns the seconds."""
        with self._lock:
            self.log.clear()
        return self.until(
            lambda: (
                len(self.log) > 2 * CALLERS
                and all(unsure == (stage == BIG) for unsure, stage in self.log[-2 * CALLERS :])
            ),
            "full service",
        )

    def stages_of_unsure(self):
        """Who has answered unsure images since the last look; None for an error."""
        with self._lock:
            log, self.log = self.log, []
        return {stage for unsure, stage in log if unsure}

    def check(self):
        """No wrong answer, and every sure image answered by little."""
        assert (self.wrong, self.lost_sure, self.errors) == ([], [], [])

    def _call(self, number):
        images = self._images
        with grpc.InferenceServerClient(self._url) as triton:
            while not self._stop.is_set():
                number = (number + 7) % len(images.pixels)
                tensor = grpc.InferInput("image", [1, 32, 32, 3], "UINT8").set_data_from_numpy(images.pixels[[number]])
                outputs = [grpc.InferRequestedOutput(name) for name in OUTPUTS]
                try:
                    answer = triton.infer("little_big", [tensor], outputs=outputs, client_timeout=DEADLINE)
                except Exception as failure:
                    stage = None
                    self.errors.append(str(failure))
                    if not images.unsure(number):
                        self.lost_sure.append(str(failure))
                else:
                    stage = int(answer.as_numpy("stage")[0, 0])
                    self._compare(number, stage, answer)
                with self._lock:
                    self.log.append((images.unsure(number), stage))

    def _compare(self, number, stage, answer):
        labels, confidences = self._images.expected[BIG if stage == BIG else LITTLE]
        if (
            answer.as_numpy("label")[0, 0] != labels[number]
            or abs(answer.as_numpy("confidence")[0, 0] - confidences[number]) > 1e-4
        ):
            self.wrong.append((number, stage))
        if not self._images.unsure(number) and stage != LITTLE:
            self.lost_sure.append(f"answered by {stage}")


class Proxy:
    """Forwards TCP connections to a port, counts what is sent there, and can delay, drop or refuse it."""

    def __init__(self, port):
        self._to = port
        self.delay_s, self._drops = 0.0, False
        self.bytes_sent = 0
        self._loop = asyncio.new_event_loop()
        self._open = set()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._server = self._run(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port = self._server.sockets[0].getsockname()[1]

    def drop(self, drops):
        """Take bytes and pass nothing on, as a network that has lost its other side; or go on with new connections."""
        self._drops = drops
        if not drops:
            self._run(self._reset())

    def point_to(self, port):
        """Send new connections elsewhere, and end those that are open."""
        self._to = port
        self._run(self._reset())

    def close(self):
        self._server.close()
        self._run(self._reset())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, work):
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(DEADLINE)

    async def _reset(self):
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0.05)

    async def _serve(self, reader, writer):
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._to)
        except OSError:
            writer.transport.abort()
            return
        self._open |= {writer, far_writer}
        await asyncio.gather(self._pipe(reader, far_writer, counts=True), self._pipe(far_reader, writer))
        self._open -= {writer, far_writer}

    async def _pipe(self, reader, writer, *, counts=False):
        try:
            while data := await reader.read(1 << 16):
                if self.delay_s:
                    await asyncio.sleep(self.delay_s)
                self.bytes_sent += len(data) * counts
                if not self._drops:
                    writer.write(data)
                    await writer.drain()
        except OSError:
            pass
        finally:
            writer.transport.abort()
