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
import sys
from contextvars import ContextVar
from pathlib import Path
from typing import Any

from serving import __main__ as serving

_live: ContextVar[bool] = ContextVar("live", default=False)
_leaked: list[bytearray] = []


def main(arguments: list[str]) -> int:
    serving.prepare()  # before anything imports NumPy
    from serving import app, work

    bundle = Path(arguments[arguments.index("--bundle") + 1])
    file = bundle.with_name(f"{bundle.name}.fault")

    def fault() -> list[str]:
        try:
            return file.read_text().split()
        except FileNotFoundError:
            return []

    class Faulty(app.App):
        async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
            if scope["path"] == "/predict":
                probe = dict(scope["headers"]).get(b"x-andon-probe") == b"1"
                _live.set(not probe)
                match fault():
                    case ["500"]:
                        head = {"status": 500, "headers": [(b"content-length", b"0")]}
                        await send({"type": "http.response.start", **head})
                        await send({"type": "http.response.body", "body": b""})
                        return
                    case ["slow", seconds]:
                        await asyncio.sleep(float(seconds))
                    case ["leak", megabytes] if not probe:
                        _leaked.append(bytearray(b"x" * int(float(megabytes) * 2**20)))
            await super().__call__(scope, receive, send)

    right = work.Work.score

    async def score(self: Any, decoded: Any) -> Any:
        scored = await right(self, decoded)
        if _live.get():
            match fault():
                case ["nan"]:
                    return scored._replace(
                        scores=[[float("nan")] * len(row) for row in scored.scores]
                    )
                case ["labels"]:
                    return scored._replace(
                        labels=[1 - it for it in scored.labels],
                        scores=[row[::-1] for row in scored.scores],
                    )
        return scored

    work.Work.score = score  # type: ignore[method-assign]
    app.App = Faulty  # type: ignore[misc]
    return serving.main(arguments)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
