"""Asks a server, as Kubernetes does, whether it has started, takes requests, or must be restarted.

Triton's health endpoints do not know the last two: they go on saying 200 when the Python process of the gate has died,
and Triton (24.10) never starts it again. So a blank image is really classified.

startup   the models of the cascade are loaded
ready     an image is answered by little, and one by big where big is required
live      no Python process is dead or hangs; too much to do, a failed stage and a server that stops are no reason to
          restart one
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import tritonclient.grpc as triton
from numpy.typing import NDArray
from tritonclient.utils import InferenceServerException

from littlebig_client._errors import InvalidRequest, ProbeFailed
from littlebig_client._options import check_seconds, check_url
from littlebig_client._triton_says import busy, dead, stopping

_GATE, _BIG = "little_big", "big"
_MODELS = ("little", _GATE, "preprocess", "classify")
_BETWEEN_LOOKS = 0.1
# Part of the time that is left which one image may take, so that some is left to see whether others are answered.
_FOR_AN_IMAGE = 0.7


class Probe:
    """One look at one server.

    Args:
        url: host:port of Triton's gRPC endpoint.
        timeout: seconds for the whole look.
        big_required: whether a server without big counts as well.
        tls_ca: file with the authority that signed the server's certificate; None for a server without TLS.
        tls_name: the name in that certificate, where it is not the url's, localhost for instance.
    """

    def __init__(
        self,
        url: str,
        timeout: float = 4.0,
        *,
        big_required: bool = True,
        tls_ca: Path | None = None,
        tls_name: str | None = None,
    ) -> None:
        """Prepare the connection.

        Raises:
            InvalidRequest: for a url that is not host:port, a timeout that is not a finite number above 0, or an
                authority that cannot be read.
        """
        self._url = check_url(url)
        self._timeout = check_seconds("timeout", timeout)
        self._deadline = time.monotonic() + self._timeout
        self._big_required = big_required
        self._triton = _connect(url, tls_ca, tls_name)

    def startup(self) -> None:
        """Return if every model of the cascade is ready.

        Raises:
            ProbeFailed: saying which is not.
        """
        # Not the server's own readiness, which no model may be missing from: big may, where it is optional.
        for model in (*_MODELS, *([_BIG] if self._big_required else [])):
            if not self._ask("is_model_ready", model):
                raise ProbeFailed(f"model '{model}' at {self._url} is not ready: the server's log says why")

    def ready(self) -> None:
        """Return if an image is answered by little, and one by big where big is required.

        Raises:
            ProbeFailed: saying which was not, and why.
        """
        self._answers(_GATE, "little", must_succeed=True)
        if self._big_required:
            self._answers(_GATE, "big", must_succeed=True)

    def live(self) -> None:
        """Return unless a restart is what the server needs.

        big is asked directly: through the gate its breaker would hide a process that is dead.

        Raises:
            ProbeFailed: if nothing answers, or a Python process is dead or hangs.
        """
        try:
            self._answers(_GATE, "little", must_succeed=False)
            if self._big_required and self._ask("is_model_ready", _BIG):
                self._answers(_BIG, None, must_succeed=False)
        except _Stopping:
            return

    def _answers(self, model: str, policy: str | None, *, must_succeed: bool) -> None:
        """Ask a model about a blank image, as often as it has processes: a free server asks each in turn."""
        image = self._blank(model)
        answered = self._answered(model)
        for _ in range(self._instances(model)):
            try:
                self._infer(model, image, {} if policy is None else {"policy": policy})
            except InferenceServerException as failure:
                self._judge(failure, model, answered, must_succeed=must_succeed)
                return

    def _judge(self, failure: InferenceServerException, model: str, answered: int, *, must_succeed: bool) -> None:
        """Raise ProbeFailed, unless the failure is one that the model survives."""
        said = failure.message() or "no message"
        status = (failure.status() or "").removeprefix("StatusCode.")
        if stopping(said):
            raise _Stopping(f"the server at {self._url} is stopping: {said}")
        if dead(said):
            raise ProbeFailed(f"a Python process of the server at {self._url} is dead: {said}")
        late = status in ("DEADLINE_EXCEEDED", "UNAVAILABLE")
        if late and (busy(said) or status == "DEADLINE_EXCEEDED"):
            # It may be dead or have too much to do. Only one of the two goes on answering others.
            if not self._goes_on(model, answered):
                raise ProbeFailed(
                    f"model '{model}' at {self._url} hangs: no request was answered within {self._timeout:g} s"
                )
        elif late:
            raise self._nobody()
        elif must_succeed:
            raise ProbeFailed(f"the server at {self._url} fails: {said}")

    def _goes_on(self, model: str, answered: int) -> bool:
        """Whether a model has answered more than `answered` requests, before the time is over."""
        while True:
            if self._answered(model) > answered:
                return True
            if time.monotonic() >= self._deadline:
                return False
            time.sleep(_BETWEEN_LOOKS)

    def _answered(self, model: str) -> int:
        statistics = self._ask("get_inference_statistics", model).model_stats[0].inference_stats
        return int(statistics.success.count)

    def _instances(self, model: str) -> int:
        config = self._ask("get_model_config", model).config
        return max(1, sum(int(group.count) for group in config.instance_group))

    def _blank(self, model: str) -> triton.InferInput:
        """`image` UINT8 [1, H, W, 3] of zeros, in the size that the model's metadata tells."""
        shape = next(
            (
                list(tensor.shape)[1:]
                for tensor in self._ask("get_model_metadata", model).inputs
                if tensor.name == "image"
            ),
            None,
        )
        if shape is None:
            raise ProbeFailed(f"model '{model}' at {self._url} has no input 'image': this is no Little-Big repository")
        blank: NDArray[np.uint8] = np.zeros([1, *shape], np.uint8)
        return triton.InferInput("image", list(blank.shape), "UINT8").set_data_from_numpy(blank)

    def _ask(self, call: str, *arguments: Any) -> Any:
        """A call that computes nothing; a server that fails it fails the probe.

        Raises:
            ProbeFailed: if it is not answered.
        """
        try:
            return self._call(call, *arguments)
        except InferenceServerException as failure:
            said = failure.message() or "no message"
            if stopping(said):
                raise _Stopping(f"the server at {self._url} is stopping: {said}") from failure
            if failure.status() in ("StatusCode.UNAVAILABLE", "StatusCode.DEADLINE_EXCEEDED"):
                raise self._nobody() from failure
            raise ProbeFailed(f"the server at {self._url} fails: {said}") from failure

    def _call(self, call: str, *arguments: Any) -> Any:
        return getattr(self._triton, call)(*arguments, client_timeout=self._left())

    def _infer(self, model: str, image: triton.InferInput, parameters: dict[str, str]) -> Any:
        return self._triton.infer(model, [image], parameters=parameters, client_timeout=self._left() * _FOR_AN_IMAGE)

    def _left(self) -> float:
        return max(self._deadline - time.monotonic(), _BETWEEN_LOOKS)

    def _nobody(self) -> ProbeFailed:
        return ProbeFailed(f"no Triton server answers gRPC at {self._url} within {self._timeout:g} s")

    def close(self) -> None:
        """Close the connection."""
        self._triton.close()

    def __enter__(self) -> Probe:
        """The probe itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connection."""
        self.close()


def _connect(url: str, ca: Path | None, name: str | None) -> triton.InferenceServerClient:
    if ca is None:
        return triton.InferenceServerClient(url)
    try:
        authority = ca.read_bytes()
    except OSError as reason:
        raise InvalidRequest(f"the authority '{ca}' cannot be read: {reason.strerror}") from None
    credentials = grpc.ssl_channel_credentials(root_certificates=authority)
    options = [("grpc.ssl_target_name_override", name)] if name else None
    return triton.InferenceServerClient(url, creds=credentials, channel_args=options)


class _Stopping(ProbeFailed):
    """The server stops: not ready, but no reason to restart it."""
