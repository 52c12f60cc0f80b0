"""Problems a client can mend, as RFC 9457 has them."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

import msgspec

ALL_ERRORS = 1_000  # a request can hold more mistakes than anyone reads; the rest is counted


class Problem(Exception):
    """Why a request is not answered. `errors` are rows of row, column, found, allowed."""

    def __init__(
        self,
        status: int,
        detail: str,
        errors: list[dict[str, Any]] | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.errors = errors or []
        self.retry_after = retry_after  # seconds

    def body(self) -> bytes:
        """The problem+json document."""
        document: dict[str, Any] = {
            "type": "about:blank",
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
        }
        if self.errors:
            document["errors"] = self.errors[:ALL_ERRORS]
            document["errors_total"] = len(self.errors)
        return msgspec.json.encode(document)
