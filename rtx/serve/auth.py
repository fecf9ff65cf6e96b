"""Who may ask: a token where strangers can reach the port, compared in constant time, and TLS.

The token comes from a file or from the environment, never from the command line, where every user of the machine reads it.
"""

from __future__ import annotations

import hmac
import ipaddress
import os
import ssl
from collections.abc import Mapping
from pathlib import Path

from rtx.errors import UserError

TOKEN_VARIABLE = "RTX_TOKEN"
_SHORTEST = 16  # characters; shorter ones can be tried out
_SCHEMES = ("bearer", "api-key")  # "Api-Key" is what openpi's client says
_HOW = 'python -c "import secrets; print(secrets.token_urlsafe())"'


def read_token(file: Path | None, environment: Mapping[str, str] = os.environ) -> str | None:
    """From `file`, else from the environment variable RTX_TOKEN, else None. Raises UserError for one that protects nothing."""
    if file is not None and not file.is_file():
        raise UserError(f"no such token file: {file}; make one: {_HOW} > {file}")
    text = file.read_text() if file is not None else environment.get(TOKEN_VARIABLE, "")
    token, source = text.strip(), file or f"the variable {TOKEN_VARIABLE}"
    if not token and file is None:
        return None
    if len(token) < _SHORTEST or not token.isascii() or not token.isprintable() or " " in token:
        raise UserError(f"the token in {source} needs at least {_SHORTEST} ASCII characters and no blanks; make one: {_HOW}")
    return token


def is_allowed(header: str | None, token: str | None) -> bool:
    """Whether an Authorization header holds the token. Takes equally long for every wrong one."""
    if token is None:
        return True
    scheme, _, said = (header or "").partition(" ")
    same = hmac.compare_digest(said.strip().encode("utf-8", "replace"), token.encode())
    return same and scheme.lower() in _SCHEMES


def is_local(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def check_exposure(host: str, *, token: str | None, tls: ssl.SSLContext | None) -> None:
    """Raises UserError where strangers could reach a server that asks nobody who they are."""
    if not is_local(host) and token is None and tls is None:
        raise UserError(
            f"host {host!r} can be reached by other machines, and whoever reaches this port moves the robot: set a token "
            f"(--token-file FILE, or the variable {TOKEN_VARIABLE}; make one: {_HOW}), or TLS (--cert FILE --key FILE), or both"
        )


def tls_context(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """None without a certificate. Raises UserError for one of two files, or files that are no certificate and key."""
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise UserError("TLS needs both --cert and --key")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(cert, key)
    except OSError as error:  # ssl.SSLError is one
        raise UserError(f"cannot use the certificate {cert} with the key {key}: {error.strerror or error}") from error
    return context
