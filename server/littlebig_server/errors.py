"""Everything that can fail between a model repository and a ready server; every message names the remedy.

ServerError
├── SettingsError              a setting outside its range
├── IncompleteRepositoryError  the folder cannot be served
├── InstallationError          no tritonserver, or something it needs is missing
├── PortError                  a host or port is not available
├── PreflightError             too little shared memory, or no calibration where one is required
├── StartError                 tritonserver ended, or was not ready in time
└── ControlError               the running server refuses an administrative call, or does not answer
"""


class ServerError(Exception):
    """Base class of every failure that a user of this package can cause or fix."""


class SettingsError(ServerError):
    """A setting is outside its range: the message names it and the values it takes."""


class IncompleteRepositoryError(ServerError):
    """The folder is no model repository, or a part of it is missing."""


class InstallationError(ServerError):
    """There is no tritonserver, or something it needs is missing on this machine."""


class PortError(ServerError):
    """The host is no address of this machine, or a given port is not available."""


class PreflightError(ServerError):
    """This machine has too little shared memory, or the repository lacks a required calibration."""


class StartError(ServerError):
    """Tritonserver ended before it was ready, or was not ready in time."""


class ControlError(ServerError):
    """The running server refuses an administrative call, or does not answer it in time."""
