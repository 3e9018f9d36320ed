"""Write `schemas/json/{event}.json`: `python -m tests.schemas.publish`, or `make schemas`."""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import schemas
from schemas.events import COMMERCE_NAMES
from schemas.published import document

FOLDER = Path(schemas.__file__).parent / "json"


def main() -> int:
    """Write every file and remove those of events that are no more. Exit status: 0."""
    FOLDER.mkdir(exist_ok=True)
    wanted = {name: FOLDER / f"{name}.json" for name in COMMERCE_NAMES}
    for path in set(FOLDER.glob("*.json")) - set(wanted.values()):
        path.unlink()
    for name, path in wanted.items():
        path.write_text(dump(document(name)), "utf-8")
    print(f"{len(wanted)} schemas written")
    return 0


def dump(schema: dict[str, Any]) -> str:
    """A schema file's text: indented, lists of words on one line."""
    text = json.dumps(schema, indent=1, ensure_ascii=False)
    return re.sub(r'\[\s+("[^\[\]{}]*")\s+\]', _on_one_line, text) + "\n"


def _on_one_line(match: re.Match[str]) -> str:
    return "[" + re.sub(r",\s+", ", ", match[1]) + "]"


if __name__ == "__main__":
    sys.exit(main())
