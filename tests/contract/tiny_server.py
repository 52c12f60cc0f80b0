"""The smallest thing that passes for a prediction server: standard library only, up in 0.1 s.

Its bundle is a folder with `identity.json`: {"model", "version", "digest", "mode"}. Modes: good;
crash (dies at its start); stuck (never ready); failing, refusing (healthy, and answer 500 or 422
to the rest); slow (healthy, and takes a second for the rest); leaking (healthy, and keeps a
megabyte for each of the rest). /burn costs a tenth of a second of CPU time. `served` counts what is
no question of its health.
"""

import argparse
import asyncio
import json
import os
import re
import sys
import time
from pathlib import Path

ERRORS = {"failing": 500, "refusing": 422}
SLOW = 1.0
BURN_SECONDS = 0.1
LEAK = 2**20
leaked: list[bytearray] = []


def burn() -> None:
    end = time.process_time() + BURN_SECONDS
    while time.process_time() < end:
        pass


def answer(path: str, who: dict) -> tuple[int, dict]:
    health = ("/healthz", "/readyz")
    if path == "/readyz" and who["mode"] == "stuck":
        return 503, {"status": "starting"}
    if path not in health:
        who["served"] += 1
        if who["mode"] in ERRORS:
            return ERRORS[who["mode"]], {}
        if who["mode"] == "leaking":
            leaked.append(bytearray(b"x") * LEAK)
        if path == "/burn":
            burn()
    return 200, {"status": "ok", "path": path, "pid": os.getpid(), **who}


async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, who: dict) -> None:
    try:
        while True:
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
            length = re.search(r"(?i)^content-length: (\d+)", head, re.MULTILINE)
            if length:
                await reader.readexactly(int(length[1]))
            elif re.search(r"(?i)^transfer-encoding: chunked", head, re.MULTILINE):
                await reader.readuntil(b"0\r\n\r\n")
            status, content = answer(head.split(" ", 2)[1], who)
            if who["mode"] == "slow" and "/healthz" not in content["path"]:
                await asyncio.sleep(SLOW)
            body = json.dumps(content).encode()
            writer.write(
                f"HTTP/1.1 {status} X\r\ncontent-length: {len(body)}\r\n"
                f"content-type: application/json\r\n\r\n".encode()
                + body
            )
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        writer.close()


async def serve(options: argparse.Namespace, who: dict) -> None:
    server = await asyncio.start_server(
        lambda reader, writer: talk(reader, writer, who),
        options.host, options.port, limit=2**20, backlog=2048,
    )  # fmt: skip
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path, required=True)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--environment", default="")
    options, _ = parser.parse_known_args()
    who = json.loads((options.bundle / "identity.json").read_text(encoding="utf-8"))
    if who["mode"] == "crash":
        sys.exit("boom: this bundle cannot be served")
    asyncio.run(serve(options, {**who, "environment": options.environment, "served": 0}))


if __name__ == "__main__":
    main()
