"""The version, where both the packaging and the ``User-Agent`` find it."""

VERSION = "0.1.0"
