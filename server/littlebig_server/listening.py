"""Reads from /proc which ports a server's own processes listen on.

An open port is no proof: another server may take it between our choice and Triton's bind.
"""

from collections.abc import Iterator
from pathlib import Path

from littlebig_server.keeper import group_members

_LISTEN = "0A"  # a TCP state, <net/tcp_states.h>


def listening_ports(group: int) -> set[int]:
    """The TCP ports that the processes of a group listen on.

    Args:
        group: the process group's id.
    """
    ports: set[int] = set()
    for member in group_members(group):
        folder = Path(f"/proc/{member.pid}")
        try:
            sockets = set(_sockets(folder))
            # The process's own network namespace, which may not be ours.
            tables = [
                (folder / "net" / name).read_text() for name in ("tcp", "tcp6") if (folder / "net" / name).exists()
            ]
        except OSError:  # it has ended
            continue
        for line in (line for table in tables for line in table.splitlines()[1:]):
            # sl local_address rem_address st ... inode, addresses as HEX:HEX
            fields = line.split()
            if fields[3] == _LISTEN and fields[9] in sockets:
                ports.add(int(fields[1].rpartition(":")[2], 16))
    return ports


def _sockets(process: Path) -> Iterator[str]:
    """The inode numbers of a process's open sockets, as text."""
    for descriptor in (process / "fd").iterdir():
        try:
            target = str(descriptor.readlink())
        except FileNotFoundError:  # closed meanwhile
            continue
        if target.startswith("socket:["):
            yield target.removeprefix("socket:[").removesuffix("]")
