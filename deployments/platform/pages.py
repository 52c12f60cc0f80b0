"""A server of files: the dashboard, the monitors' reports, and figures for Prometheus.

Runs of `monitor` and `probe` write them; here nothing is computed, and nothing else is served.
"""

from __future__ import annotations

import argparse
from functools import partial
from http import HTTPStatus
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import IO, Any

POLICY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"
NOTHING = b"<!doctype html><title>Andon</title><p>Nothing has been watched yet."


class Pages(SimpleHTTPRequestHandler):
    """Files of one folder; no listings, no hidden files, and no way out of it by links."""

    server_version, sys_version = "andon", ""

    def send_head(self) -> Any:
        path = Path(self.translate_path(self.path))
        root = Path(self.directory).resolve()
        if self.path == "/healthz":
            return self._say(b"ok\n", "text/plain")
        if self.path.partition("?")[0] == "/" and not (root / "index.html").is_file():
            return self._say(NOTHING, "text/html")
        if not _is_open(path, root):
            self.send_error(HTTPStatus.NOT_FOUND)
            return None
        return super().send_head()

    def _say(self, body: bytes, kind: str) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", f"{kind}; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def list_directory(self, path: Any) -> IO[bytes] | None:  # type: ignore[override]
        self.send_error(HTTPStatus.NOT_FOUND)
        return None

    def guess_type(self, path: Any) -> str:
        if Path(path).name == "metrics":
            return "text/plain; version=0.0.4; charset=utf-8"
        return f"{super().guess_type(path)}; charset=utf-8"

    def end_headers(self) -> None:
        for name, value in (
            ("Content-Security-Policy", POLICY),
            ("X-Content-Type-Options", "nosniff"),
            ("Referrer-Policy", "no-referrer"),
            ("Cache-Control", "no-cache"),
        ):
            self.send_header(name, value)
        super().end_headers()

    def log_message(self, *_: Any) -> None:
        """People look every minute; that is no news."""


def _is_open(path: Path, root: Path) -> bool:
    """In the folder, also where links lead, and not hidden."""
    try:
        inside = path.resolve().is_relative_to(root)
    except (OSError, ValueError):  # a path that no file can have
        return False
    return inside and not any(it.startswith(".") for it in path.parts[len(root.parts) :])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, required=True)
    given = parser.parse_args()
    handler = partial(Pages, directory=str(given.folder))
    with ThreadingHTTPServer(("127.0.0.1", given.port), handler) as server:
        server.serve_forever()


if __name__ == "__main__":
    main()
