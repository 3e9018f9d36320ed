"""Asking the running gateway: only the serving process writes to an embedded store."""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any

from gateway.settings import Settings


class AdminError(Exception):
    """The gateway does not answer, or refused."""


@dataclass(frozen=True, slots=True)
class AdminClient:
    """Calls one gateway with one key. `tls_cert`: the certificate it serves with, if any."""

    base_url: str
    key: str
    tls_cert: str = ""

    @classmethod
    def of(cls, settings: Settings) -> AdminClient:
        """The client of the gateway these settings describe. Raises AdminError without a key."""
        key = settings.api_key.get_secret_value()
        if not key:
            try:
                key = (settings.data_dir / "admin.key").read_text().strip()
            except (OSError, ValueError):
                raise AdminError(
                    "no admin key: set COMPORTA_API_KEY, "
                    "or COMPORTA_DATA_DIR to the folder with admin.key"
                ) from None
        return cls(local_url(settings), key, settings.tls_cert)

    def call(self, method: str, path: str, body: Any = None, *, seconds: float = 30) -> Any:
        """The JSON answer, waited for so long. Raises AdminError with the gateway's own message."""
        data = None if body is None else json.dumps(body).encode()
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        request = urllib.request.Request(  # noqa: S310 - http(s) to our own address
            self.base_url + path, data=data, method=method, headers=headers
        )
        try:
            with opener(self.tls_cert).open(request, timeout=seconds) as answer:
                return json.loads(answer.read() or b"null")
        except urllib.error.HTTPError as error:
            raise AdminError(_told(error)) from None
        except (OSError, HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise AdminError(
                f"no gateway answers at {self.base_url} ({reason}); is it running?"
            ) from None
        except ValueError:
            raise AdminError(f"what answers at {self.base_url} is no gateway") from None


def check_health(settings: Settings, path: str) -> str:
    """A line about the gateway that runs on this machine. Needs no key. Raises AdminError unless
    it is well.
    """
    client = AdminClient(local_url(settings), "", settings.tls_cert)
    answer = client.call("GET", path, seconds=4)
    state = answer.get("status") if isinstance(answer, dict) else None
    if state not in {"ok", "ready"}:
        raise AdminError(f"what answers at {client.base_url} is no gateway")
    return f"{client.base_url} is {state}"


def local_url(settings: Settings) -> str:
    """Where the gateway of these settings is reached from this machine."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(settings.host, settings.host)
    scheme = "https" if settings.tls_cert else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.port}"


def opener(tls_cert: str) -> urllib.request.OpenerDirector:
    """Calls to our own address: never through a proxy, and over TLS to nobody else."""
    handlers: list[urllib.request.BaseHandler] = [urllib.request.ProxyHandler({})]
    if tls_cert:
        context = ssl.create_default_context(cafile=tls_cert)
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        context.check_hostname = False  # the certificate names the public host, not this address
        handlers.append(urllib.request.HTTPSHandler(context=context))
    return urllib.request.build_opener(*handlers)


def _told(error: urllib.error.HTTPError) -> str:
    try:
        body = json.loads(error.read())
        details = "; ".join(f"{d['path']}: {d['message']}" for d in body.get("details", []))
        return f"{body['error']}: {body.get('message', '')}" + (f" ({details})" if details else "")
    except (ValueError, KeyError, TypeError, AttributeError):
        return f"the gateway answered {error.code}"
