"""Sign a sample with its own `secret`, as its provider would: `python -m tests.drivers.sign
SLUG/CASE …`, or `make sign ARGS=SLUG/CASE`.

What signing changes (a header, a query parameter, or the body) is written back into the file.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from gateway.samples import UnknownSampleError, load
from tests.drivers.samples import FOLDER, NOON


def main(names: list[str]) -> int:
    """Exit status: 0, or 2 for a sample that is not there or has no secret."""
    for name in names:
        try:
            signed = sign(name, FOLDER)
        except (UnknownSampleError, ValueError) as error:
            print(error, file=sys.stderr)
            return 2
        print(f"{name}: {signed or 'nothing to sign'}")
    return 0


def sign(name: str, folder: Path) -> str:
    """Sign the sample in its file; gives the names of what changed. Raises UnknownSampleError, and
    ValueError without a secret.
    """
    path = folder / f"{name}.json"
    sample, content = load(name), json.loads(path.read_text("utf-8"))
    if not sample.secret:
        raise ValueError(f"{name} has no `secret` to sign with")
    draft = sample.signed(sample.secret, int(content.get("now") or NOON.timestamp()))
    parts: dict[str, Any] = {"headers": draft.headers, "query": draft.query}
    if draft.body != sample.body:
        parts["body_raw"] = draft.body.decode("utf-8", "surrogateescape")
    changed = {n: v for n, v in parts.items() if v != (content.get(n) or {})}
    if changed:
        path.write_text(json.dumps(content | changed, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return ", ".join(changed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
