"""A gRPC server that answers like a served cascade, so that the client's tests patch nothing.

The upper left pixel of a picture determines the answer: red / 16 is the label, green / 255 the confidence, and blue 255
makes the big stage fail.
"""

import io
import struct
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import grpc
import numpy as np
from PIL import Image, UnidentifiedImageError
from tritonclient.grpc import service_pb2 as pb
from tritonclient.grpc.service_pb2_grpc import GRPCInferenceServiceServicer, add_GRPCInferenceServiceServicer_to_server

NAMES = (
    "tench",
    "goldfish",
    "white shark, man-eater",
    "file: a tool",
    "ray",
    "cock",
    "hen",
    "[bold]ostrich[/bold]",
    "brambling",
    "a name that is too long for a single line in a table of eighty columns and so has to be wrapped",
)
SHAPE = (26, 24, 3)
SERVED_THRESHOLD = 0.55


def colour(label: int, confidence: float = 0.9, *, big_fails: bool = False) -> tuple[int, int, int]:
    return (label * 16, round(confidence * 255), 255 if big_fails else 0)


def picture(
    label: int, confidence: float = 0.9, *, big_fails: bool = False, size: tuple[int, int] = (40, 30)
) -> Image.Image:
    return Image.new("RGB", size, colour(label, confidence, big_fails=big_fails))


def encoded_picture(label: int, confidence: float = 0.9, *, big_fails: bool = False, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    picture(label, confidence, big_fails=big_fails).save(buffer, kind)
    return buffer.getvalue()


def canonical(label: int, confidence: float = 0.9) -> np.ndarray:
    return np.full(SHAPE, colour(label, confidence), np.uint8)


@dataclass(frozen=True)
class ReceivedRequest:
    """A received request."""

    model: str
    parameters: dict[str, object]
    content: bytes
    bytes_on_the_wire: int
    outputs: dict[str, int]


class _Recorder(grpc.ServerInterceptor):
    def __init__(self, metadata: list[tuple[str, frozenset[tuple[str, str]]]]) -> None:
        self._metadata = metadata

    def intercept_service(self, continuation, call):
        method = call.method.rpartition("/")[2]
        self._metadata.append((method, frozenset((item.key, item.value) for item in call.invocation_metadata)))
        return continuation(call)


@dataclass
class FakeTriton(GRPCInferenceServiceServicer):
    """The server. Its fields control how it answers and fails.

    Attributes:
        fail_with: status and message that answer every inference.
        fail_times: number of inferences that fail.
        hold: every inference waits for this event.
        hold_label_until_seen: (label, n): the answer to that label waits until n requests have arrived.
        ready: the answer of ModelReady.
        stage_code: stage of every answer.
        names: names of the classes; empty for a model without label_filename.
        shape: shape of the canonical image.
        score: what the gate compares with the threshold; None refuses to say.
        max_batch: images per request at most.
        metadata: method and metadata of every call.
    """

    fail_with: tuple[grpc.StatusCode, str] | None = None
    fail_times: float = float("inf")
    hold: threading.Event | None = None
    hold_label_until_seen: tuple[int, int] | None = None
    ready: bool = True
    stage_code: int | None = None
    names: tuple[str, ...] = NAMES
    shape: tuple[int, ...] = SHAPE
    score: str | None = "confidence"
    max_batch: int = 4
    seen: list[ReceivedRequest] = field(default_factory=list)
    metadata: list[tuple[str, frozenset[tuple[str, str]]]] = field(default_factory=list)
    metadata_requests: int = 0
    in_flight: int = 0
    most_in_flight: int = 0

    def __post_init__(self) -> None:
        self._changed = threading.Condition()
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        """Serve; on the previous port after a restart."""
        self._server = grpc.server(
            ThreadPoolExecutor(32),
            interceptors=[_Recorder(self.metadata)],
            options=[("grpc.max_receive_message_length", -1), ("grpc.so_reuseport", 0)],
        )
        add_GRPCInferenceServiceServicer_to_server(self, self._server)
        self.port = self._server.add_insecure_port(f"127.0.0.1:{self.port}")
        self._server.start()

    def stop(self) -> None:
        if self.hold is not None:
            self.hold.set()
        self._server.stop(None).wait()

    def wait_for_requests(self, count: int) -> None:
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.seen) >= count, 60)

    def ServerLive(self, request, context):  # noqa: N802
        return pb.ServerLiveResponse(live=True)

    def ModelReady(self, request, context):  # noqa: N802
        return pb.ModelReadyResponse(ready=self.ready)

    def ModelMetadata(self, request, context):  # noqa: N802
        self.metadata_requests += 1
        image = pb.ModelMetadataResponse.TensorMetadata(name="image", datatype="UINT8", shape=[-1, *self.shape])
        return pb.ModelMetadataResponse(name=request.name, inputs=[image])

    def ModelConfig(self, request, context):  # noqa: N802
        if self.score is None:
            context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted, expecting header 'x'")
        response = pb.ModelConfigResponse()
        response.config.max_batch_size = self.max_batch
        response.config.parameters["score"].string_value = self.score
        return response

    def SystemSharedMemoryRegister(self, request, context):  # noqa: N802
        context.abort(grpc.StatusCode.UNAVAILABLE, "This protocol is restricted, expecting header 'x'")

    def ModelInfer(self, request, context):  # noqa: N802
        content = _content(request)
        with self._changed:
            self.in_flight += 1
            self.most_in_flight = max(self.most_in_flight, self.in_flight)
            self.seen.append(
                ReceivedRequest(
                    request.model_name,
                    {
                        name: getattr(value, value.WhichOneof("parameter_choice"))
                        for name, value in request.parameters.items()
                    },
                    content,
                    request.ByteSize(),
                    {output.name: output.parameters["classification"].int64_param for output in request.outputs},
                )
            )
            self._changed.notify_all()
        try:
            return self._answer(request, content, context)
        finally:
            with self._changed:
                self.in_flight -= 1

    def _answer(self, request, content, context):
        if self.hold is not None:
            self.hold.wait(60)
        if self.fail_with is not None and self.fail_times > 0:
            self.fail_times -= 1
            context.abort(*self.fail_with)
        if request.model_name == "classify":
            try:
                with Image.open(io.BytesIO(content)) as image:
                    pixels = [image.convert("RGBA").getpixel((0, 0))[:3]]
            except UnidentifiedImageError:
                context.abort(
                    grpc.StatusCode.INVALID_ARGUMENT, "input 'encoded_image': not an image\nthat can be decoded"
                )
        else:
            pixels = np.frombuffer(content, np.uint8).reshape(-1, *self.shape)[:, 0, 0].tolist()
        top_k = next(o.parameters["classification"].int64_param for o in request.outputs if o.name == "probabilities")
        answers = []
        for red, green, blue in pixels:
            label, confidence = red // 16, green / 255
            if self.hold_label_until_seen is not None and label == self.hold_label_until_seen[0]:
                self.wait_for_requests(self.hold_label_until_seen[1])
            answers.append((label, confidence, self._stage(request, confidence, blue), top_k))
        return self._response(answers)

    def _stage(self, request, confidence: float, blue: int) -> int:
        if self.stage_code is not None:
            return self.stage_code
        threshold = (
            request.parameters["threshold"].double_param if "threshold" in request.parameters else SERVED_THRESHOLD
        )
        policy = request.parameters["policy"].string_param if "policy" in request.parameters else "cascade"
        escalated = policy == "big" or (policy == "cascade" and confidence < threshold)
        return (2 if blue == 255 else 1) if escalated else 0

    def _response(self, answers: list[tuple[int, float, int, int]]):
        texts = [self._candidates(label, confidence, top_k) for label, confidence, _, top_k in answers]
        labels, confidences, stages, _ = zip(*answers, strict=True)
        rows = len(answers)
        tensors = [
            ("label", "INT32", [rows, 1], np.array(labels, np.int32).tobytes()),
            ("confidence", "FP32", [rows, 1], np.array(confidences, np.float32).tobytes()),
            ("stage", "INT32", [rows, 1], np.array(stages, np.int32).tobytes()),
            (
                "probabilities",
                "BYTES",
                [rows, len(texts[0])],
                b"".join(_length_prefixed(text) for row in texts for text in row),
            ),
        ]
        response = pb.ModelInferResponse(model_name="little_big")
        for name, datatype, shape, raw in tensors:
            response.outputs.add(name=name, datatype=datatype, shape=shape)
            response.raw_output_contents.append(raw)
        return response

    def _candidates(self, label: int, confidence: float, top_k: int) -> list[str]:
        classes = len(NAMES)
        others = [(1 - confidence) / (classes - 1) * (1 + (classes / 2 - i) / 100) for i in range(classes)]
        ranked = sorted(
            ((confidence if i == label else others[i], i) for i in range(classes)), key=lambda p: (p[1] != label, -p[0])
        )[:top_k]
        return [f"{p:f}:{i}:{self.names[i]}" if self.names else f"{p:f}:{i}" for p, i in ranked]


def _content(request) -> bytes:
    (tensor,) = request.inputs
    (raw,) = request.raw_input_contents
    if request.model_name == "classify":
        assert (tensor.name, tensor.datatype, list(tensor.shape)) == ("encoded_image", "BYTES", [1, 1])
        (length,) = struct.unpack("<I", raw[:4])
        assert len(raw) == 4 + length
        return raw[4:]
    assert (tensor.name, tensor.datatype, len(tensor.shape)) == ("image", "UINT8", 4)
    return raw


def _length_prefixed(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data
