"""The model that the documentation and the examples speak of, in one place.

``tests/test_model_names.py`` holds every page to it: when the model leaves the API, change it here
and wherever that test says.
"""

from __future__ import annotations

#: OpenAI has announced no end of it.
MODEL = "gpt-6-luna"
