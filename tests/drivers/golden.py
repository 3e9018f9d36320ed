"""Write the golden file of every sample: `python -m tests.drivers.golden [SLUG ...]`, or `make
golden`.

Read the diff before committing it: a golden file says what the driver does, only a person knows
whether it is right.
"""

from __future__ import annotations

import json
import sys

from drivers import DRIVERS
from tests.drivers.samples import FOLDER, SAMPLES, golden_of


def main(slugs: list[str]) -> int:
    """Write those of the drivers named, or of all; remove those whose sample is gone. Exit status:
    0, or 2 for a bad name.
    """
    known = {driver.slug for driver in DRIVERS}
    if unknown := set(slugs) - known:
        print(f"no such driver: {', '.join(sorted(unknown))}", file=sys.stderr)
        return 2
    chosen = set(slugs) or known
    samples = [s for s in SAMPLES if s.driver.slug in chosen]
    wanted = {s.golden for s in samples}
    stale = [p for slug in chosen for p in (FOLDER / slug).glob("*.events.json") if p not in wanted]
    for path in stale:
        path.unlink()
    for sample in samples:
        sample.golden.write_text(dump(golden_of(sample)), "utf-8")
    print(f"{len(samples)} golden files written, {len(stale)} removed")
    return 0


def dump(golden: object) -> str:
    """A golden file's text."""
    return json.dumps(golden, indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
