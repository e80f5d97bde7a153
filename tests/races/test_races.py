"""Moments that meet: who stops a stream, who reads it, and what ends it by itself.

Each race is run many times, with chance deciding the moment; in each round the outcome must be one
of those that are promised, and come soon. ``make races`` runs a thousand rounds of each.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import gc
import queue
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from conftest_of_races import SOON, Moments, Track  # type: ignore[import-not-found]
