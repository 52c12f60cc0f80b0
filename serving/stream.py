"""Arrow IPC streams on the disk: whole messages, whatever the disk does."""

from __future__ import annotations

import io
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from nanoarrow.c_array import CArray
from nanoarrow.ipc import StreamWriter


class Stream:
    """One stream at a time, `<folder>/<epoch_ms>-<pid>.arrows`; the next one when it is full."""

    def __init__(
        self,
        folder: Path,
        rotate_bytes: int,
        rotate_seconds: float,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._folder = folder
        self._rotate_bytes = rotate_bytes
        self._rotate_seconds = rotate_seconds
        self._clock = clock
        self._forget()

    def _forget(self) -> None:
        self._file: int | None = None
        self._size = 0
        self._opened = 0.0
        self._messages = io.BytesIO()
        self._writer: StreamWriter | None = None

    def append(self, batches: Sequence[CArray]) -> None:
        """The batches are in the file when this returns; if it raises (OSError), none of them is.

        Many at once: a thread that writes has to wait for the interpreter after each write.
        """
        if self._file is not None and self._is_over(self._file):
            self.close()
        file = self._open() if self._file is None else self._file
        try:
            data = b"".join([self._message(batch) for batch in batches])
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(file, rest) :]
        except Exception:
            self._undo(file)
            raise
        self._size += len(data)

    def close(self) -> None:
        """End the stream; the next batch begins another."""
        if self._file is not None:
            os.close(self._file)
        self._forget()

    def _message(self, batch: CArray) -> bytes:
        """The batch as a message, after the schema's if it is the first."""
        self._messages.seek(0)
        self._messages.truncate()
        if self._writer is None:
            self._writer = StreamWriter.from_writable(self._messages)
        self._writer.write_stream(batch)
        return self._messages.getvalue()

    def _is_over(self, file: int) -> bool:
        """Whether it is full, old, or was deleted by somebody."""
        full = self._size >= self._rotate_bytes
        old = self._clock() - self._opened >= self._rotate_seconds
        return full or old or os.fstat(file).st_nlink == 0

    def _open(self) -> int:
        """A file whose name is new even if another process has this number and started now."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._opened = self._clock()
        stamp = int(self._opened * 1000)
        flags = os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_WRONLY
        while True:
            self._path = self._folder / f"{stamp}-{os.getpid()}.arrows"
            try:
                self._file = os.open(self._path, flags, 0o644)
            except FileExistsError:
                stamp += 1
            else:
                return self._file

    def _undo(self, file: int) -> None:
        """No half messages; a file without even its schema is none."""
        if not self._size:
            self.close()
            self._path.unlink(missing_ok=True)
            return
        try:
            os.ftruncate(file, self._size)
        except OSError:
            self.close()  # readers stop where it breaks off
