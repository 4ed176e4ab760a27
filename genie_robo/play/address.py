"""Where the page is served, and under which names. Imports no NiceGUI."""

import re
import socket
from collections.abc import Sequence

LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_NAME = re.compile(r"[a-z0-9._-]+|[0-9a-f]*:[0-9a-f:.]+", re.IGNORECASE)


def served_names(host: str, allowed_hosts: Sequence[str]) -> frozenset[str]:
    """The names under which browsers may open a page that is served at an address.

    Raises:
        ValueError: An allowed host is no plain name or address.
    """
    for name in allowed_hosts:
        if not _NAME.fullmatch(name):
            raise ValueError(
                f"allowed_hosts: {name!r} is no host name; give names or addresses without scheme, "
                "port or *, as in allowed_hosts=[robot7.lan,10.0.0.5]"
            )
    return LOCAL_NAMES | {name.lower() for name in (host, *allowed_hosts)}


def free_port(host: str, port: int) -> int:
    """The port itself, or any free one for 0.

    Raises:
        ValueError: Something listens there already, or this machine has no such address.
    """
    if not 0 <= port <= 65535:
        raise ValueError(f"port={port} must be between 1 and 65535, or 0 for any free one")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.create_server((host, port), family=family) as probe:
            return probe.getsockname()[1]
    except OSError as error:
        reason = str(error.strerror).split(" (")[0]
        raise ValueError(
            f"cannot listen on port {port} of {host} ({reason}); stop what listens there, "
            f"choose another with port=NUMBER, or take any free one with port=0"
        ) from error
