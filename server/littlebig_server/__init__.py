"""Finds a tritonserver, starts it, waits for it, stops it.

```python
with TritonServer("build/model_repository") as server:
    print(server.grpc_url, server.http_url, server.metrics_url, server.pid)
```

settings.py      what can be chosen
repository.py    is this folder something to serve?
preflight.py     does this machine have what it needs?
installation.py  which tritonserver   (wheel.py: what the one from PyPI needs around it)
ports.py         where it listens
server.py        start, wait, stop   (keeper.py: the process that stops it even if we are killed)
readiness.py     when it may be asked   (listening.py: whether it is ours that answers)
log.py           what it says         (diagnosis.py: which line of it says what went wrong)
errors.py        what can go wrong
"""

from littlebig_server.errors import (
    InstallationError,
    PortError,
    PreflightError,
    RepositoryError,
    ServerError,
    SettingsError,
    StartError,
)
from littlebig_server.server import TritonServer
from littlebig_server.settings import ServerSettings

__all__ = [
    "InstallationError",
    "PortError",
    "PreflightError",
    "RepositoryError",
    "ServerError",
    "ServerSettings",
    "SettingsError",
    "StartError",
    "TritonServer",
]
