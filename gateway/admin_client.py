"""Asking the running gateway: only the serving process writes to an embedded store."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass
from typing import Any

from gateway.settings import Settings


class AdminError(Exception):
    """The gateway does not answer, or refused."""


@dataclass(frozen=True, slots=True)
class AdminClient:
    """Calls one gateway with one key."""

    base_url: str
    key: str

    @classmethod
    def of(cls, settings: Settings) -> AdminClient:
        """The client of the gateway these settings describe. Raises AdminError without a key."""
        key = settings.api_key.get_secret_value()
        if not key:
            try:
                key = (settings.data_dir / "admin.key").read_text().strip()
            except OSError:
                raise AdminError(
                    "no admin key: set COMPORTA_API_KEY, "
                    "or COMPORTA_DATA_DIR to the folder with admin.key"
                ) from None
        host = "127.0.0.1" if settings.host == "0.0.0.0" else settings.host
        scheme = "https" if settings.tls_cert else "http"
        return cls(f"{scheme}://{host}:{settings.port}", key)

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """The JSON answer. Raises AdminError with the gateway's own message."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310 - http(s) to our own address
            self.base_url + path, data=data, method=method, headers=headers
        )
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310 - as above
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AdminError(_told(error)) from None
        except OSError as error:
            reason = getattr(error, "reason", error)
            raise AdminError(
                f"no gateway answers at {self.base_url} ({reason}); is it running?"
            ) from None


def _told(error: urllib.error.HTTPError) -> str:
    try:
        body = json.loads(error.read())
        details = "; ".join(f"{d['path']}: {d['message']}" for d in body.get("details", []))
        return f"{body['error']}: {body.get('message', '')}" + (f" ({details})" if details else "")
    except (ValueError, KeyError):
        return f"the gateway answered {error.code}"
