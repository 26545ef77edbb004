"""The gRPC client of a served cascade. Needs tritonclient, NumPy and Pillow, and no other package of the project."""

from littlebig_client._answers import Candidate, Classification, Stage
from littlebig_client._async_client import AsyncClient
from littlebig_client._client import Client
from littlebig_client._connection import COMPRESSIONS, Connection, Tls, connection
from littlebig_client._errors import (
    ClientError,
    InvalidImage,
    InvalidRequest,
    ModelNotServed,
    ProbeFailed,
    RequestRejected,
    ServerFailure,
    ServerTimeout,
    ServerUnreachable,
)
from littlebig_client._images import ImageInput
from littlebig_client._options import POLICIES
from littlebig_client._probe import Probe

__all__ = [
    "COMPRESSIONS",
    "POLICIES",
    "AsyncClient",
    "Candidate",
    "Classification",
    "Client",
    "ClientError",
    "Connection",
    "ImageInput",
    "InvalidImage",
    "InvalidRequest",
    "ModelNotServed",
    "Probe",
    "ProbeFailed",
    "RequestRejected",
    "ServerFailure",
    "ServerTimeout",
    "ServerUnreachable",
    "Stage",
    "Tls",
    "connection",
]
