"""No secret of the environment in anything that is logged or raised."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from urllib.parse import unquote, urlsplit

MASK = "***"
_NAMES = re.compile(
    r"PASS(WORD|WD|PHRASE)?($|_)|TOKEN|SECRET|CREDENTIAL|API_?KEY|(^|_)KEY($|_)|AUTH_STRING", re.I
)
_SHORTEST = 4  # shorter values stand in any text


def looks_secret(name: str, value: str = "") -> bool:
    """Whether a variable is one that nobody else should see: by its name, or a URL's password."""
    return bool(_NAMES.search(name)) or bool(_password(value))


def masked(text: str, environment: Mapping[str, str] | None = None) -> str:
    """The text with *** for every secret of the environment, the longest first."""
    found: set[str] = set()
    for name, value in (os.environ if environment is None else environment).items():
        if _NAMES.search(name):
            found.add(value)
        if password := _password(value):
            found |= {password, unquote(password)}
    for secret in sorted((it for it in found if len(it) >= _SHORTEST), key=len, reverse=True):
        text = text.replace(secret, MASK)
    return text


def _password(value: str) -> str | None:
    if "://" not in value or "@" not in value:
        return None
    try:
        return urlsplit(value).password
    except ValueError:
        return None
