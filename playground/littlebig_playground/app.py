"""The page and what it asks: one picture, the server's settings, and the load as server-sent events."""

import json
from collections import deque
from collections.abc import AsyncIterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
from anyio import to_thread
from starlette.applications import Starlette
from starlette.datastructures import State
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from littlebig_client import ClientError
from littlebig_playground.cascade import Cascade, is_picture_fault
from littlebig_playground.load import Load, NoMetrics, Reading, between

PAGE = Path(__file__).with_name("page")
# No server decodes a longer file by default; this bounds what one request may hold in memory here.
MAX_BYTES = 64 << 20
# Names under which a browser on this machine reaches the page. Another one means that a foreign site resolves here.
HOSTS = ["localhost", "127.0.0.1", "[::1]"]
# The page's own requests carry this header, which a foreign site cannot send without being allowed to.
OWN_HEADER = "x-littlebig"
# Between two events; each is about the load of the last so many.
LOAD_SECONDS, EVENTS_MEAN = 1.0, 10

_HEADERS = {
    "cache-control": "no-store",
    "content-security-policy": "default-src 'self'; img-src 'self' blob: data:; frame-ancestors 'none'",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}


class _SafeHeaders:
    """Adds the headers that keep the page to itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] += [(name.encode(), value.encode()) for name, value in _HEADERS.items()]
            await send(message)

        await self._app(scope, receive, send_with_headers)


def create_app(cascade: Cascade, load: Load) -> Starlette:
    """The ASGI application of the page. Its `state.ending` says whether endless streams shall end.

    Args:
        cascade: answers pictures.
        load: reads the server's metrics.
    """

    async def served(_: Request) -> Response:
        try:
            return JSONResponse(asdict(await to_thread.run_sync(cascade.served)))
        except ClientError as failure:
            return _failure(failure, 503)

    async def classify(request: Request) -> Response:
        if OWN_HEADER not in request.headers:
            return _failure(f"a request without the header {OWN_HEADER} does not come from this page", 403)
        picture = bytearray()
        try:
            async for part in request.stream():
                picture += part
                if len(picture) > MAX_BYTES:
                    return _failure(f"the picture has more than {MAX_BYTES >> 20} MiB", 413)
            return JSONResponse(await to_thread.run_sync(cascade.ask, bytes(picture)))
        except ClientDisconnect:
            return Response(status_code=204)
        except ClientError as failure:
            return _failure(failure, 422 if is_picture_fault(failure) else 503)

    async def live(request: Request) -> Response:
        return StreamingResponse(_events(load, request.app.state), media_type="text/event-stream")

    app = Starlette(
        routes=[
            Route("/served", served),
            Route("/classify", classify, methods=["POST"]),
            Route("/load", live),
            Mount("/", StaticFiles(directory=PAGE, html=True)),
        ],
        middleware=[Middleware(_SafeHeaders), Middleware(TrustedHostMiddleware, allowed_hosts=HOSTS)],
    )
    app.state.ending = lambda: False
    return app


async def _events(load: Load, state: State) -> AsyncIterator[str]:
    readings: deque[Reading] = deque(maxlen=EVENTS_MEAN)
    while not state.ending():
        event: dict[str, Any]
        try:
            now = await to_thread.run_sync(load.read)
            if readings and now.after_restart(readings[-1]):
                readings.clear()
            event = between(readings[0], now) if readings else {}
            readings.append(now)
        except NoMetrics as failure:
            event = {"error": str(failure)}
            readings.clear()
        yield f"data: {json.dumps(event)}\n\n"
        await anyio.sleep(LOAD_SECONDS)


def _failure(reason: object, status: int) -> JSONResponse:
    return JSONResponse({"error": str(reason)}, status)
