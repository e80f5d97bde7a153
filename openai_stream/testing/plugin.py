"""Environments that were made before the fixtures moved find them here."""

from _openai_stream_pytest import stream_client, stream_default_client, stream_server

__all__ = ["stream_client", "stream_default_client", "stream_server"]
