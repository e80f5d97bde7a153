"""What the libraries below must have, checked once, at import.

Some of what is used of them they do not promise. Where one of these names were gone, a stream would
still come, but it could not be stopped, or its deadlines would not hold: better to say so at once.
``tests/test_seams.py`` has all such names, and says of each what it is needed for.
"""

from __future__ import annotations

import http.client
from typing import Any

import sseclient
import urllib3
import urllib3.connection

__all__ = ["OF_CLIENTS", "OF_CONNECTIONS", "OF_MANAGERS", "check"]

OF_CONNECTIONS = ("_dns_host", "_new_conn")
OF_MANAGERS = ("pool_classes_by_scheme",)
OF_CLIENTS = ("_logger",)


def check(
    connection: Any = urllib3.connection.HTTPConnection,
    client: Any = sseclient.SSEClient,
    manager: Any = urllib3.PoolManager,
) -> None:
    """Refuse to be imported over libraries that have changed.

    :param connection: urllib3's class of connections.
    :param client: sseclient's class.
    :param manager: urllib3's class of pool managers.
    :raises ImportError: saying what is missing, and what to do.
    """
    version = vars(urllib3).get("__version__")
    if not issubclass(connection, http.client.HTTPConnection):
        raise ImportError(
            "openai_stream needs urllib3, whose connections are http.client's; what is installed "
            f"under its name ({version}) is something else, perhaps urllib3-future: in an "
            "environment of its own, install urllib3 again"
        )
    # Objects have them, not all of the classes; to make these does nothing yet.
    for library, thing, names in (
        (f"urllib3 {version}", connection("localhost"), OF_CONNECTIONS),
        (f"urllib3 {version}", manager(), OF_MANAGERS),
        ("sseclient", client(iter(())), OF_CLIENTS),
    ):
        for name in names:
            if not hasattr(thing, name):
                raise ImportError(
                    f"{type(thing).__name__} of {library} has no {name}, which openai_stream "
                    "needs: install a newer openai_stream, or an older version of that library"
                )
