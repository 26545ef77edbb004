"""Finds a tritonserver, starts it, waits until it is ready, and stops it.

```python
with TritonServer("build/model_repository") as server:
    print(server.grpc_url, server.http_url, server.metrics_url, server.pid)
```

settings.py      options of a server                          (administration.py: what clients may not call)
repository.py    checks that a folder can be served
preflight.py     checks what a server needs on this machine   (queueing.py: configurations that stall)
installation.py  finds a tritonserver                         (wheel.py: prepares the one from PyPI)
ports.py         chooses where it listens
server.py        start, wait, stop                            (control.py: administrative calls)
watch.py         finds lost model processes and heals         (stubs.py: the processes; hang.py: who does not move)
process.py       the running server                           (keeper.py: the process that always stops it)
readiness.py     waits until it is ready                      (listening.py: which ports are its own)
log.py           reads its log                                (diagnosis.py: the line that names the cause)
errors.py        everything this package raises
"""

from littlebig_server.errors import (
    ControlError,
    IncompleteRepositoryError,
    InstallationError,
    PortError,
    PreflightError,
    ServerError,
    SettingsError,
    StartError,
)
from littlebig_server.server import TritonServer
from littlebig_server.settings import ServerSettings

__all__ = [
    "ControlError",
    "IncompleteRepositoryError",
    "InstallationError",
    "PortError",
    "PreflightError",
    "ServerError",
    "ServerSettings",
    "SettingsError",
    "StartError",
    "TritonServer",
]
