"""Errors of the client, as a tree with one root.

ClientError
├── InvalidRequest          an option, the url or a closed client; nothing was sent
│   └── InvalidImage        a missing or unreadable file, not an image, or an array of the wrong shape
├── ServerUnreachable       no Triton server responds at the url
├── ServerTimeout           the server did not answer in time
├── ProbeFailed             the server is not in the probed state
├── RequestRejected         the server finds the request invalid (gRPC INVALID_ARGUMENT); its own message
└── ServerFailure           the server failed at a valid request (any other gRPC status, in `.status`)
    └── ModelNotServed      the Triton server does not serve the cascade's models

Every message is one line. If the failure belongs to one named image, `.image` holds the name and the line begins
with it.
"""

from __future__ import annotations

from littlebig_contract.text import one_line, printable


class ClientError(Exception):
    """Base of all errors of this package.

    Its text is one printable line, whatever a server or a file name contains.

    Attributes:
        message: what is wrong and what to do.
        image: the image's file name as it is, or None if it has none.
    """

    def __init__(self, message: str) -> None:
        """Store the message as one printable line."""
        self.message: str = one_line(message)
        self.image: str | None = None
        super().__init__(self.message)

    def __str__(self) -> str:
        """Return the message, preceded by the image's name if there is one."""
        return self.message if self.image is None else f"{printable(self.image)}: {self.message}"


class InvalidRequest(ClientError):
    """The client refused the request; nothing was sent."""


class InvalidImage(InvalidRequest):
    """This image cannot be sent: missing, unreadable, or an array of the wrong shape or dtype."""


class ServerUnreachable(ClientError):
    """No Triton server responds to gRPC at the url."""

    def __str__(self) -> str:
        """Return the message without the image's name: every image would fail."""
        return self.message


class ServerTimeout(ClientError):
    """The server did not answer in time."""


class ProbeFailed(ClientError):
    """The server is not in the probed state; the message gives the reason."""


class RequestRejected(ClientError):
    """The server finds the request invalid; the message is its own."""


class ServerFailure(ClientError):
    """The server failed at a valid request.

    Attributes:
        status: name of the gRPC status, such as "UNAVAILABLE" or "INTERNAL".
    """

    def __init__(self, message: str, status: str) -> None:
        """Store the message and the gRPC status."""
        super().__init__(message)
        self.status: str = status

    def __reduce__(self) -> tuple[type[ServerFailure], tuple[str, str], dict[str, object]]:
        """Pickle with both arguments, so that the error crosses processes."""
        return type(self), (self.message, self.status), self.__dict__


class ModelNotServed(ServerFailure):
    """The Triton server does not serve the cascade's models."""

    def __str__(self) -> str:
        """Return the message without the image's name: every image would fail."""
        return self.message
