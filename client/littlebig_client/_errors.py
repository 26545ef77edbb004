"""What can go wrong, as a tree with one root.

ClientError
├── InvalidRequest          refused before anything is sent: threshold, policy, top_k, url, a closed client
│   └── InvalidImage        this image: file missing or unreadable, not an image, an array of the wrong shape
├── ServerUnreachable       nothing that speaks Triton's gRPC answers at the url
├── ServerTimeout           the server was there, but did not answer in time
├── ProbeFailed             a server is not in the state that a probe asked for
├── RequestRejected         the server found the request invalid and says why (gRPC INVALID_ARGUMENT)
└── ServerFailure           the server failed at a valid request (any other gRPC status, kept as `.status`)
    └── ModelNotServed      a Triton server, but without the cascade's models

Every message is one line. Where the failure belongs to one image that has a name, `.image` holds it and the
line begins with it.
"""

from __future__ import annotations


class ClientError(Exception):
    """Base of every failure this package reports.

    Attributes:
        message: one line: what was wrong and what to do.
        image: the image's file name, or None where it has none.
    """

    def __init__(self, message: str) -> None:
        """Keep the message as one line, whatever line breaks the server put into it."""
        self.message = " ".join(message.split())
        self.image: str | None = None
        super().__init__(self.message)

    def __str__(self) -> str:
        """The line, led by the image's name where there is one."""
        return self.message if self.image is None else f"{self.image}: {self.message}"


class InvalidRequest(ClientError):
    """The request was refused by the client itself; nothing was sent."""


class InvalidImage(InvalidRequest):
    """This image cannot be sent: missing, unreadable, or an array of the wrong shape or dtype."""


class ServerUnreachable(ClientError):
    """Nothing that speaks Triton's gRPC answers at the url."""

    def __str__(self) -> str:
        """The line without the image's name: no image would have fared better."""
        return self.message


class ServerTimeout(ClientError):
    """The server did not answer in time."""


class ProbeFailed(ClientError):
    """The server is not in the state that a probe asked for; the message says what is wrong."""


class RequestRejected(ClientError):
    """The server found the request invalid; the message is the server's own."""


class ServerFailure(ClientError):
    """The server failed at a valid request.

    Attributes:
        status: the gRPC status' name, such as "UNAVAILABLE" or "INTERNAL".
    """

    def __init__(self, message: str, status: str) -> None:
        """Keep the message and the gRPC status."""
        super().__init__(message)
        self.status = status

    def __reduce__(self) -> tuple[type[ServerFailure], tuple[str, str], dict[str, object]]:
        """Pickle with both arguments, so that the error crosses processes."""
        return type(self), (self.message, self.status), self.__dict__


class ModelNotServed(ServerFailure):
    """A Triton server answers, but it does not serve the cascade's models."""

    def __str__(self) -> str:
        """The line without the image's name: no image would have fared better."""
        return self.message
