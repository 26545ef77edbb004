"""What can go wrong between a model repository and a server that answers; every message names the remedy.

ServerError
├── SettingsError      a setting that cannot be
├── RepositoryError    the folder is nothing that can be served
├── InstallationError  no tritonserver, or something it needs is missing here
├── PortError          a port that was asked for cannot be had
├── PreflightError     this machine lacks what a server needs, or the repository a calibration that it must have
└── StartError         tritonserver ended, or was not ready in time
"""


class ServerError(Exception):
    """Base class of every failure that a user of this package can cause or mend."""


class SettingsError(ServerError):
    """A setting that cannot be: the message names it and what it may be."""


class RepositoryError(ServerError):
    """The folder is nothing that can be served."""


class InstallationError(ServerError):
    """There is no tritonserver, or something it needs is missing on this machine."""


class PortError(ServerError):
    """A port that was asked for cannot be had."""


class PreflightError(ServerError):
    """This machine lacks what a server needs, or the repository a calibration that it must have."""


class StartError(ServerError):
    """Tritonserver ended before it was ready, or was not ready in time."""
