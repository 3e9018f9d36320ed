"""Authorising an installation at its provider (RFC 6749, authorization code grant)."""

from __future__ import annotations

from gateway.directory import Directory
from gateway.models import Installation


async def authorization_url(directory: Directory, installation: Installation) -> str | None:  # noqa: ARG001 - the seam that the OAuth flow fills
    """Where the installation's owner authorises it: fresh, signed, to be used once and soon.

    None while this gateway cannot start the flow.
    """
    return None
