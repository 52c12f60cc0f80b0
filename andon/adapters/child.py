"""The other end of `limited.call`: a process that takes a request, tells, and answers."""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from andon.errors import DataError, LineError, SpecError

REPORT_VARIABLE = "ANDON_REPORT"
_SHOWN = 6  # lines of a traceback


class Report:
    """Events for whoever started us; without anybody there, they go nowhere."""

    def __init__(self, descriptor: int | None) -> None:
        self._descriptor = descriptor
        if descriptor is not None:
            os.set_inheritable(descriptor, False)

    def tell(self, **event: Any) -> None:
        """One event, as a line of JSON."""
        if self._descriptor is None:
            return
        line = memoryview(json.dumps(event).encode() + b"\n")
        while line:
            line = line[os.write(self._descriptor, line) :]


def answer(work: Callable[[dict[str, Any], Report], dict[str, Any]], project_key: str) -> NoReturn:
    """Do the work that `sys.argv[1]` asks for, and report its result, or what it raised.

    `project_key` is the request's key with the project's folder: errors name the line in there.
    """
    found = os.environ.pop(REPORT_VARIABLE, None)
    report = Report(int(found) if found else None)
    request = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    project = Path(request[project_key])
    try:
        result = work(request, report)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # the project's code may raise anything, SystemExit too
        result = {"kind": _kind(error), "error": blame(error, project)}
    report.tell(result=result)
    sys.stdout.flush()
    sys.stderr.flush()
    # All is said: taking the interpreter apart, and waiting for threads, is time lost.
    os._exit(1 if "error" in result else 0)


def blame(error: BaseException, project: Path) -> str:
    """What it says, with file and line of the project's code and the end of the traceback."""
    root = error
    while isinstance(root, LineError) and root.__cause__ is not None:
        root = root.__cause__
    where = _line_in(root.__traceback__, project)
    if isinstance(error, LineError) and where is None and root is error:
        return str(error)
    ours = isinstance(error, LineError)
    said = str(error) if ours else f"{type(error).__name__}: {error}"
    last = "".join(traceback.format_exception(root)).strip().splitlines()[-_SHOWN:]
    if where:
        said = f"{where}: {said.removeprefix(where.rpartition(':')[0] + ': ')}"
    return "\n".join([said, *(f"    {it}" for it in last)])


def _kind(error: BaseException) -> str:
    for kind in (DataError, SpecError):
        if isinstance(error, kind):
            return kind.__name__
    return LineError.__name__


def _line_in(trace: TracebackType | None, project: Path) -> str | None:
    """The innermost frame in the project's models, as `models/m/pipeline.py:12`."""
    models = project / "models"
    inside = [
        f"{Path(frame.filename).relative_to(project)}:{frame.lineno}"
        for frame in traceback.extract_tb(trace)
        if Path(frame.filename).is_relative_to(models)
    ]
    return inside[-1] if inside else None
