"""What several contract suites need: tiny servers and a steady load."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Self

from support import wait_until

TINY_SERVER = Path(__file__).parent / "tiny_server.py"


def write_bundle(folder: Path, **identity: str) -> Path:
    """A bundle as `tiny_server.py` reads it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "identity.json").write_text(json.dumps({"mode": "good", **identity}))
    return folder


class TinyServer:
    """A real HTTP server in a process of its own, that can be killed, hung and brought back."""

    def __init__(self, bundle: Path) -> None:
        self._bundle = bundle
        self.port = 0
        self.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """At the same address as before."""
        command = [sys.executable, TINY_SERVER, "--bundle", self._bundle, "--port", str(self.port)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
            self._process.communicate()

    def hang(self) -> None:
        self._process.send_signal(signal.SIGSTOP)


class Load:
    """A steady load while the block runs; `answers` counts who answered, `failures` the rest."""

    def __init__(
        self, send: Callable[[], tuple[int, str]], threads: int = 4, pause: float = 0.002
    ) -> None:
        self.answers: Counter[str] = Counter()
        self.failures: list[str] = []
        self._send, self._pause = send, pause
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._threads = [threading.Thread(target=self._run) for _ in range(threads)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def wait_for(self, n: int) -> None:
        """Until `n` more requests were answered."""
        goal = self.answers.total() + len(self.failures) + n
        wait_until(lambda: self.answers.total() + len(self.failures) >= goal, 60, f"{n} answers")

    def _run(self) -> None:
        while not self._stop.wait(self._pause):
            try:
                status, server = self._send()
                failure = "" if status == 200 else f"HTTP {status}"
            except Exception as error:
                failure = f"{type(error).__name__}: {error}"
            with self._lock:
                if failure:
                    self.failures.append(failure)
                else:
                    self.answers[server] += 1
