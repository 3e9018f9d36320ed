"""Sending a sample delivery over HTTP, as its provider would."""

from __future__ import annotations

import time
import urllib.error
import urllib.request
from urllib.parse import urlencode

from gateway.samples import Sample


def send(sample: Sample, to: str, secret: str) -> tuple[int, str]:
    """POST the sample, freshly signed, to an ingest URL; gives status and body of the answer."""
    draft = sample.signed(secret, int(time.time()))
    query = urlencode(draft.query)
    url = f"{to}{'&' if '?' in to else '?'}{query}" if query else to
    if not url.startswith(("http://", "https://")):
        raise OSError(f"{to} is not an http(s) URL")
    request = urllib.request.Request(  # noqa: S310 - checked above
        url, data=draft.body, method=sample.method, headers=draft.headers
    )
    try:
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
            return answer.status, answer.read().decode(errors="replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode(errors="replace")
    except urllib.error.URLError as error:
        raise OSError(f"{to} does not answer: {error.reason}") from None
