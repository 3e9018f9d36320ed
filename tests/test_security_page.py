"""What SECURITY.md names is there."""

import re

from tests.test_architecture import ROOT

PAGE = (ROOT / "SECURITY.md").read_text()


def test_every_file_it_names_exists() -> None:
    named = re.findall(r"`((?:gateway|drivers|sinks|schemas|tests|deploy)/[\w./-]*)`", PAGE)

    assert len(named) > 40
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_comparison_of_secrets_is_listed() -> None:
    listed = set(re.findall(r"`([\w/]+\.py)`", PAGE.split("## Comparing secrets")[1]))
    listed = {name for name in listed if "/" in name}
    compared = {
        str(path.relative_to(ROOT))
        for room in ("gateway", "drivers", "sinks")
        for path in (ROOT / room).rglob("*.py")
        if "compare_digest" in path.read_text()
    }

    assert compared <= listed
