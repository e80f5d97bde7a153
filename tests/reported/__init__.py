"""What the public reports: one file an area, put together by ``tests/reports.py``."""
