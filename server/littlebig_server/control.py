"""Administrative calls of a running server, over HTTP with the secret of its start.

Uses http.client because urllib.request would send requests for 127.0.0.1 to a proxy from the environment.
"""

import http.client
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from littlebig_server.errors import ControlError

_MESSAGE_LENGTH = 300
# No GPU has this compute capability, so an entry for it changes nothing but the configuration itself.
_NO_CAPABILITY = "0.0"


@dataclass(frozen=True)
class Control:
    """Calls one server.

    Attributes:
        address: IPv4 address of its HTTP endpoint.
        port: port of its HTTP endpoint.
        headers: of every call.
    """

    address: str
    port: int
    headers: Mapping[str, str] = field(repr=False)

    def load_again(self, model: str, timeout: float) -> None:
        """Load a model again with the configuration that it has; the loaded one serves until the new one is ready.

        Triton ignores a load that changes nothing, so an entry of the configuration without effect is toggled.

        Args:
            model: its name.
            timeout: seconds for each of two calls.

        Raises:
            ControlError: if the server refuses, or does not answer in time.
        """
        config = json.loads(self.call("GET", f"/v2/models/{model}/config", None, timeout))
        toggled = {} if config.get("cc_model_filenames") else {_NO_CAPABILITY: config.get("default_model_filename", "")}
        config["cc_model_filenames"] = toggled
        self.call(
            "POST", f"/v2/repository/models/{model}/load", {"parameters": {"config": json.dumps(config)}}, timeout
        )

    def call(self, method: str, path: str, body: Mapping[str, Any] | None, timeout: float) -> bytes:
        """The body of the server's answer.

        Args:
            method: GET or POST.
            path: after host and port.
            body: sent as JSON.
            timeout: seconds.

        Raises:
            ControlError: if the server refuses, or does not answer in time.
        """
        connection = http.client.HTTPConnection(self.address, self.port, timeout=timeout)
        try:
            connection.request(method, path, None if body is None else json.dumps(body), dict(self.headers))
            response = connection.getresponse()
            answer = response.read()
        except TimeoutError:
            raise ControlError(f"no answer within {timeout:g} s") from None
        except (OSError, http.client.HTTPException) as reason:
            raise ControlError(f"no answer: {reason or type(reason).__name__}") from None
        finally:
            connection.close()
        if response.status != 200:
            raise ControlError(_message(answer))
        return answer


def _message(answer: bytes) -> str:
    """Triton's error text in one line."""
    try:
        text = str(json.loads(answer)["error"])
    except (ValueError, KeyError, TypeError):
        text = answer.decode(errors="replace")
    return " ".join(text.split())[:_MESSAGE_LENGTH]
