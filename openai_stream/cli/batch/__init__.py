"""``batch``: many prompts, each asked until it has an answer or has failed for good.

``command`` is the command line; ``run`` asks all prompts. What comes in is read by ``prompts``,
what goes out is written by ``answers``; who asks is in ``workers`` and ``dask_workers``, how many
at once in ``gate``. What an error means for the run is said by ``verdicts``, why prompts failed by
``reasons``, how far the run is by ``progress``.
"""

from .command import batch

__all__ = ["batch"]
