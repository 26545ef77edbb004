"""Malformed requests beside comparing clients."""

from __future__ import annotations

import collections
from dataclasses import dataclass, field

import psutil
import tritonclient.grpc

from tests.e2e.server.test_server_closed import OTHERS, OVER_HTTP, SHARED_MEMORY, refusal
from tests.faults import malformed_grpc, malformed_http
from tests.faults.campaign import await_whole
from tests.faults.traffic import Traffic

GRPC_REQUESTS, HTTP_REQUESTS = 100, 50
_LONGEST_MESSAGE = 1000
_UNWANTED = ("Traceback", "model.py", "site-packages", "\n")


@dataclass
class Attack:
    """What malformed requests did.

    Attributes:
        name: of the protocol.
        statuses: number of answers by status.
        outcome: what the comparing clients beside them got.
        found: what must not happen, in one line each.
    """

    name: str
    statuses: collections.Counter
    outcome: object
    found: list[str] = field(default_factory=list)

    def __str__(self):
        outcome = self.outcome
        return (
            f"{self.name}: {sum(self.statuses.values())} malformed requests, {dict(self.statuses)}; beside them "
            f"{outcome.right} right, {len(outcome.wrong)} wrong, {len(outcome.failed)} failed"
        )


def open_calls(service):
    """Administrative calls that the server does not refuse to a client without its secret, in one line each."""
    found = []
    with tritonclient.grpc.InferenceServerClient(service.grpc_url) as client:
        for what, call in {**SHARED_MEMORY, **OTHERS}.items():
            if "restricted" not in (refusal(call, client) or ""):
                found.append(f"gRPC: a client may {what}")
    for method, path in OVER_HTTP:
        request = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}"
        status, _ = malformed_http.send(service.http_url, request.encode())
        found += [] if status == "403" else [f"HTTP: {method} {path} is answered by {status}"]
    return found


def attack_grpc(service, asked, count=GRPC_REQUESTS, seed=0):
    """Send malformed gRPC requests; see `Attack`."""

    def send(request):
        status, message = malformed_grpc.send(service.grpc_url, request)
        return status, message, status in {"OK", "DEADLINE_EXCEEDED"}

    return _attack("gRPC", service, asked, malformed_grpc.requests(count, seed), send)


def attack_http(service, asked, count=HTTP_REQUESTS, seed=0):
    """Send malformed HTTP requests; see `Attack`."""

    def send(request):
        status, message = malformed_http.send(service.http_url, request)
        return status, message, not (status == "closed" or (status.isdecimal() and int(status) >= 400))

    return _attack("HTTP", service, asked, malformed_http.requests(count, seed), send)


def _attack(name, service, asked, requests, send):
    before = await_whole(service, asked, 90)
    statuses, found, server, lost = collections.Counter(), [], service.processes()["tritonserver"][0], 0
    with Traffic(service.grpc_url, asked) as traffic:
        for kind, request in requests:
            status, message, is_bad = send(request)
            statuses[status] += 1
            # An error is one line that names no file of ours.
            if is_bad or any(text in message for text in _UNWANTED) or len(message) > _LONGEST_MESSAGE:
                found.append(f"{name}, {kind}: {status} {message[:300]!r}")
            if len(traffic.outcome.failed) > lost:
                lost = len(traffic.outcome.failed)
                found.append(f"{name}, {kind}: requests beside it fail")
            if not server.is_running() or server.status() == psutil.STATUS_ZOMBIE:
                found.append(f"{name}, {kind}: it ended the server")
                break
        else:
            traffic.wait_for(20)
    after = await_whole(service, asked, 90)
    found += [
        f"{name}: a process of {part} was replaced" for part in before if not set(before[part]) <= set(after[part])
    ]
    return Attack(name, statuses, traffic.outcome, found + traffic.outcome.problems(f"{name}, beside them"))
