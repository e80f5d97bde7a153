"""As many open files as the streams of a batch take: systems allow few if they are not asked."""

from __future__ import annotations

import resource

from openai_stream.cli.notes import remark

__all__ = ["allow_sockets"]

_OTHERS = 100  # files, pipes, and connections that are about to be closed


def allow_sockets(streams: int) -> None:
    """Have this process allowed a socket for each stream, or say that it is not.

    :param streams: how many there may be at once.
    """
    allowed, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = streams + _OTHERS
    if allowed == resource.RLIM_INFINITY or allowed >= wanted:
        return
    possible = wanted if most == resource.RLIM_INFINITY else min(wanted, most)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(possible, allowed), most))
    except (OSError, ValueError):  # macOS has a limit of the kernel's own
        possible = allowed
    if possible < wanted:
        remark(
            f"--concurrency {streams}: this system allows {possible} open files, and each answer "
            f"that is under way is one; raise the limit (ulimit -n {wanted}), or ask fewer at once"
        )
