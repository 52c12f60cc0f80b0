"""`python -m serving`, with faults on order: what is in the file `<bundle>.fault`, at any time.

500              every prediction is answered 500
slow SECONDS     every prediction takes that long
leak MEGABYTES   every prediction keeps that much memory
nan              every score is NaN, in answers and log
labels           every answer has another label than it should
Probes and health checks are answered rightly and quickly, but for 500 and slow.
"""

from __future__ import annotations

import asyncio
import math
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from serving import __main__ as serving

_wrong: ContextVar[list[str]] = ContextVar("wrong", default=[])  # noqa: B039 - never changed
_leaked: list[bytearray] = []


def _read(file: Path) -> list[str]:
    try:
        return file.read_text().split()
    except FileNotFoundError:
        return []


def main(arguments: list[str]) -> int:
    serving.prepare()  # before anything imports NumPy
    from serving import app, work

    bundle = Path(arguments[arguments.index("--bundle") + 1])
    file = bundle.with_name(f"{bundle.name}.fault")

    class Faulty(app.App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            fault = _read(file) if scope["path"] == "/predict" else []
            live = dict(scope["headers"]).get(b"x-andon-probe") != b"1"
            _wrong.set(fault if live else [])
            if fault == ["500"]:
                head = {"status": 500, "headers": [(b"content-length", b"0")]}
                await send({"type": "http.response.start", **head})
                await send({"type": "http.response.body", "body": b""})
                return
            if fault[:1] == ["slow"]:
                await asyncio.sleep(float(fault[1]))
            if fault[:1] == ["leak"] and live:
                _leaked.append(bytearray(b"x" * int(float(fault[1]) * 2**20)))
            await super().__call__(scope, receive, send)

    right = work.Work.score

    async def score(self: Any, decoded: Any) -> Any:
        scored = await right(self, decoded)
        if _wrong.get() == ["nan"]:
            return scored._replace(scores=[[math.nan] * len(row) for row in scored.scores])
        if _wrong.get() == ["labels"]:
            labels, scores = [1 - it for it in scored.labels], [it[::-1] for it in scored.scores]
            return scored._replace(labels=labels, scores=scores)
        return scored

    work.Work.score = score  # type: ignore[method-assign]
    app.App = Faulty  # type: ignore[misc]
    return serving.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
