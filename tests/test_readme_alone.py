"""README.rst where no file lies beside it: as PyPI shows it."""

from __future__ import annotations

import email
import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.rst").read_text(encoding="utf-8")
URL = "https://github.com/someone/openai-stream"


def standing_alone(url: str | None) -> str:
    text: str = runpy.run_path(str(ROOT / "setup.py"))["standing_alone"](README, url)
    return text


def test_pictures_are_taken_from_the_projects_address() -> None:
    pictures = re.findall(r"(?m)^\.\. image:: (\S+)", README)
    assert pictures
    for picture in pictures:
        assert (ROOT / picture).is_file()
    for url in (URL, f"{URL}/"):
        text = standing_alone(url)
        assert re.findall(r"(?m)^\.\. image:: (\S+)", text) == [
            f"{URL}/raw/main/{picture}" for picture in pictures
        ]
        assert text.count("\n   :alt:") == README.count("\n   :alt:")


def test_without_an_address_there_are_no_pictures() -> None:
    text = standing_alone(None)
    assert "image::" not in text
    assert ":alt:" not in text
    before, _, after = README.partition(".. image::")
    assert text.startswith(before)
    assert text.endswith(after[after.index("\nFirst steps\n") :])


@pytest.mark.parametrize("url", [URL, None])
def test_pypi_renders_it_and_all_links_lead_somewhere(url: str | None) -> None:
    renderer = pytest.importorskip("readme_renderer.rst")
    page = renderer.render(standing_alone(url))
    assert page is not None
    targets = re.findall(r'(?:src|href)="([^"]*)"', page)
    assert [one for one in targets if not one.startswith(("https://", "#"))] == []
    for anchor in (one[1:] for one in targets if one.startswith("#")):
        assert f'id="{anchor}"' in page
    text = re.sub(r"\s+", " ", re.sub(r"<[^>]*>", "", page))
    assert text.index("make demo") < text.index("make test") < text.index("pip install")


def test_the_built_package_has_it(tmp_path: Path) -> None:
    pytest.importorskip("setuptools", minversion="77")
    build = "import sys; from setuptools import build_meta as b; b.prepare_metadata_for_build_wheel"
    subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{build}(sys.argv[1])", str(tmp_path)],
        cwd=ROOT, check=True, capture_output=True, timeout=50,
    )  # fmt: skip
    (metadata,) = tmp_path.glob("*.dist-info/METADATA")
    message = email.message_from_string(metadata.read_text(encoding="utf-8"))
    assert message["Description-Content-Type"].startswith("text/x-rst")
    body = message.get_payload()
    assert isinstance(body, str)
    assert body.strip() == standing_alone(message["Home-page"]).strip()
