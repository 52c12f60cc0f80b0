"""Ports of this machine, and short questions to its servers, asked often.

`httpx.request` loads the certificate authorities each time: 20 ms of CPU for a plain HTTP poll.
"""

from __future__ import annotations

import http.client
import json
import socket
from typing import Any
from urllib.parse import urlsplit


def ask(method: str, url: str, body: Any = None, seconds: float = 2.0) -> tuple[int, Any]:
    """HTTP status and the JSON (else the text) of the answer.

    Raises OSError if there is none: not reached, too slow, or not HTTP.
    """
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    data = None if body is None else json.dumps(body)
    try:
        headers = {"Content-Type": "application/json", "Connection": "close"}
        path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
        connection.request(method, path, body=data, headers=headers)
        answer = connection.getresponse()
        raw = answer.read().decode("utf-8", errors="replace")
    except http.client.HTTPException as error:
        raise OSError(f"{url}: {type(error).__name__}: {error}") from None
    finally:
        connection.close()
    try:
        return answer.status, json.loads(raw)
    except ValueError:
        return answer.status, raw


def is_free(port: int) -> bool:
    """Whether a server of this machine could listen on it."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
