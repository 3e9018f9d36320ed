"""`comporta listen --forward-to`: each event to a program on this machine, as a webhook would bring
it.
"""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Callable
from http.client import HTTPException

from gateway.settings import SettingsError
from sinks.signing import secret_key, signature


class Forwarder:
    """Posts to one URL. `secret`: signs, when there is one. `now`: seconds. Raises SettingsError
    for a URL or a secret that is none.
    """

    def __init__(self, url: str, secret: str, now: Callable[[], float]) -> None:
        if not url.startswith(("http://", "https://")):
            raise SettingsError(f"{url} is not an http(s) URL")
        try:
            self._keys = [secret_key(secret)] if secret else []
        except ValueError as error:
            raise SettingsError(f"--secret: {error}") from None
        self._url, self._now = url, now

    def send(self, line: str) -> str:
        """Post an event; gives a line on what came back. A receiver that is down stops nothing."""
        event = json.loads(line)
        ident, seconds = str(event.get("id", "")), int(self._now())
        headers = {
            "Content-Type": "application/json",
            "webhook-id": ident,
            "webhook-timestamp": str(seconds),
            "X-Event-Type": str(event.get("event", "")),
        }
        body = line.encode()
        if self._keys:
            headers["webhook-signature"] = signature(self._keys, ident, seconds, body)
        request = urllib.request.Request(  # noqa: S310 - http(s), checked above
            self._url, data=body, method="POST", headers=headers
        )
        return f"{ident} -> {self._url}: {self._posted(request)}"

    @staticmethod
    def _posted(request: urllib.request.Request) -> str:
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                return str(answer.status)
        except urllib.error.HTTPError as error:
            return str(error.code)
        except (OSError, HTTPException) as error:
            return str(getattr(error, "reason", error))
