"""Serves the page on this machine alone."""

import socket
from collections.abc import Callable

import uvicorn
from starlette.applications import Starlette

# The page has no login, so nobody else may reach it.
HOST = "127.0.0.1"
# The stream of the load ends within a second, a picture that is being asked within a few.
_STOP_SECONDS = 5


class PortTaken(Exception):
    """The port is in use: which one, and what to do."""


def serve_page(app: Starlette, port: int, started: Callable[[str], None]) -> None:
    """Serve until SIGINT or SIGTERM.

    Args:
        app: of `create_app`.
        port: to listen on; 0 for a free one.
        started: is called with the page's address when it can be opened.

    Raises:
        PortTaken: the port is in use.
    """
    listening = socket.socket()
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
    except OSError as failure:
        listening.close()
        raise PortTaken(
            f"port {port} on {HOST} cannot be listened on ({failure.strerror}): choose another with --port"
        ) from failure
    config = uvicorn.Config(
        app, log_level="warning", access_log=False, lifespan="off", timeout_graceful_shutdown=_STOP_SECONDS
    )
    server = uvicorn.Server(config)
    app.state.ending = lambda: server.should_exit
    with listening:
        listening.listen(128)
        started(f"http://{HOST}:{listening.getsockname()[1]}")
        server.run(sockets=[listening])
