"""The life of a stream, and what its user holds of it.

Start reading at :mod:`.state`, the state machine, and :mod:`.reader`, the thread; what a user sees
is in :mod:`.handles`.
"""
