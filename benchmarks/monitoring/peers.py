"""One library in a process of its own: how often it alarms, or how long a large window takes.

    python peers.py PEER rates '[[scene, rows, windows], ...]'
    python peers.py PEER speed FOLDER ROWS

Each is used as its documentation says, with its defaults. It prints JSON.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from rows import SCENES, cells

REFERENCE, SEED = 100_000, 4
Judge = Callable[[Any], bool]


def frame(n: int, rng: np.random.Generator, scene: str = "no drift") -> Any:
    import pandas as pd

    return pd.DataFrame(cells(n, rng, SCENES[scene])).drop(columns="score")


def evidently(reference: Any, rows: int) -> Judge:
    from evidently import Report
    from evidently.presets import DataDriftPreset

    def judge(window: Any) -> bool:
        found = Report([DataDriftPreset()]).run(window, reference).dict()["metrics"]
        (count,) = (it["value"]["count"] for it in found if isinstance(it["value"], dict))
        return bool(count > 0)

    return judge


def nannyml(reference: Any, rows: int) -> Judge:
    """Its thresholds come from chunks of the reference, which are as large as the window."""
    import nannyml

    size = min(rows, len(reference) // 2)
    calculator = nannyml.UnivariateDriftCalculator(list(reference.columns), chunk_size=size)
    calculator.fit(reference)

    def judge(window: Any) -> bool:
        found = calculator.calculate(window).filter(period="analysis").to_df()
        alerts = found.loc[:, [it for it in found.columns if it[-1] == "alert"]]
        return bool(alerts.any(axis=None))

    return judge


PEERS = {"evidently": evidently, "nannyml": nannyml}


def rates(peer: str, cases: list[tuple[str, int, int]]) -> list[float]:
    """Share of windows in which any column is flagged, for each case."""
    found = []
    for scene, rows, windows in cases:
        rng = np.random.default_rng(SEED)
        judge = PEERS[peer](frame(REFERENCE, rng), rows)
        flagged = sum(judge(frame(rows, rng, scene)) for _ in range(windows))
        found.append(flagged / windows)
        print(peer, scene, rows, found[-1], file=sys.stderr, flush=True)
    return found


def speed(peer: str, folder: Path, rows: int) -> dict[str, Any]:
    """The window is read within the time; the reference is there already, and fitted."""
    fit = 0.0
    if peer == "andon":
        work: Callable[[], Any] = _andon(folder, rows)
    else:
        import pandas as pd

        sample = frame(REFERENCE, np.random.default_rng(SEED))
        fit = time.perf_counter()
        judge = PEERS[peer](sample, rows)
        fit = time.perf_counter() - fit

        def work() -> Any:
            return judge(pd.read_parquet(folder / f"{rows}.parquet"))

    started, worked = time.perf_counter(), time.process_time()
    work()
    seconds, cpu = time.perf_counter() - started, time.process_time() - worked
    # Not of getrusage: that begins with the memory of the process that started this one.
    status = Path("/proc/self/status").read_text()
    peak = int(status.partition("VmHWM:")[2].split()[0]) / 1024
    said = "" if peer == "andon" else f"{peer} {version(peer)}"
    if peer == "nannyml":
        said += f"; {fit:.1f} s more to import it and fit the reference"
    return {"seconds": seconds, "cpu": cpu, "mb": peak, "version": said}


def _andon(folder: Path, rows: int) -> Callable[[], Any]:
    """Both monitors on one window of so many rows of the inference log."""
    from andon import profile
    from andon.adapters.live import Wanted, summarised
    from andon.monitoring import cut_for, verdicts
    from andon.settings import Settings
    from andon.spec import DataMonitor, DriftMonitor, Persistence

    once = Persistence(of=1, need=1)
    judges = [it(window_rows=rows, persistence=once) for it in (DataMonitor, DriftMonitor)]
    of = profile.from_json((folder / "profile.json").read_bytes())

    def work() -> Any:
        cut = cut_for(judges[0])
        wanted = Wanted("1", 0.0, cut.latest, cut.piece)
        settings = Settings(project=folder / str(rows))
        live = summarised(settings, "production", "m", wanted, of.features, of.score)
        windows = cut.windows(live.pieces)
        if windows[0].rows < 0.99 * rows:
            raise RuntimeError(f"{windows[0].rows} rows were read, of {rows}")
        return [verdicts(it, of, windows) for it in judges]

    return work


def main() -> None:
    peer, what, *rest = sys.argv[1:]
    if what == "rates":
        print(json.dumps(rates(peer, json.loads(rest[0]))))
    else:
        print(json.dumps(speed(peer, Path(rest[0]), int(rest[1]))))


if __name__ == "__main__":
    main()
