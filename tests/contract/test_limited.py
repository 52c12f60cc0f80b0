"""A process with limits: whatever it does, it ends, it is told, and nothing of it is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from support import wait_until

from andon.adapters.compute import Limits
from andon.adapters.limited import Done, Killed, Work, call, run
from andon.errors import DataError, LineError

LONG = Limits(seconds=60, memory_mb=2_000, cpus=2)


def python(folder: Path, code: str, limits: Limits = LONG, **told) -> Done:
    path = folder / "it.py"
    path.write_text(textwrap.dedent(code))
    return run(Work("the training", (sys.executable, str(path)), folder), limits, **told)


def gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def test_what_ends_well_is_measured(tmp_path):
    done = python(
        tmp_path,
        """
        import time
        end, block = time.process_time() + 0.3, bytearray(150 << 20)
        while time.process_time() < end: pass
        print("the end")
        raise SystemExit(3)
        """,
    )
    assert (done.status, done.result, done.tail) == (3, None, "the end")
    assert 0.3 <= done.used.cpu_seconds < 10
    assert 150 < done.used.peak_mb < 300
    assert done.used.seconds > 0


@pytest.mark.parametrize(
    "code",
    [
        "import time; time.sleep(600)",
        "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)",
        "import re; re.match('(a*)*b', 'a' * 60)",  # in C, holding the interpreter
        "import os, signal; os.kill(os.getpid(), signal.SIGSTOP)",
        "import os, signal; os.kill(os.getppid(), signal.SIGSTOP); signal.pause()",
    ],
    ids=["sleeping", "deaf", "in C", "stopped", "stops its guard"],
)
def test_what_hangs_is_killed(tmp_path, code, monkeypatch):
    monkeypatch.setattr("andon.adapters.limited.DYING_SECONDS", 1.0)
    says = r"^the training was killed: it took longer than 1 seconds \(training.minutes in"
    begun = Path(tmp_path / "pid")
    code = f"import os; open({str(begun)!r}, 'w').write(str(os.getpid()))\n{code}"
    with pytest.raises(Killed, match=says):
        python(tmp_path, code, Limits(seconds=1, memory_mb=2_000, cpus=1))
    assert gone(int(begun.read_text()))


@pytest.mark.parametrize(
    "code",
    [
        "held = []\nwhile True: held.append(bytearray(20 << 20))",
        "import os\nfor _ in range(3): os.fork()\nheld = bytearray(60 << 20)\nimport time\n"
        "time.sleep(600)",
    ],
    ids=["one process", "eight together"],
)
def test_what_takes_too_much_memory_is_killed(tmp_path, code):
    with pytest.raises(Killed, match=r"it used [\d,]+ MB, allowed are 300 \(compute.memory_mb"):
        python(tmp_path, code, Limits(seconds=60, memory_mb=300, cpus=1))


def test_pages_that_processes_share_count_once(tmp_path):
    code = """
        import os, time
        held = bytearray(200 << 20)
        for _ in range(3): os.fork()
        time.sleep(1)
        """
    assert python(tmp_path, code, Limits(seconds=60, memory_mb=400, cpus=1)).status == 0


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV, signal.SIGTERM])
def test_who_is_killed_from_outside_is_said_to_be(tmp_path, number):
    with pytest.raises(Killed, match=rf"the training was killed by signal {number:d} \(SIG"):
        python(tmp_path, f"import os; os.kill(os.getpid(), {number:d})")


def test_who_kills_its_guard_is_killed_with_it(tmp_path):
    code = """
        import os, time
        open("pid", "w").write(str(os.getpid()))
        os.kill(os.getppid(), 9)
        time.sleep(600)
        """
    with pytest.raises(Killed, match="signal 9"):
        python(tmp_path, code)
    wait_until(lambda: gone(int((tmp_path / "pid").read_text())), 10, "it is dead")


def test_megabytes_of_output_leave_their_end(tmp_path):
    code = "for i in range(300_000): print('x' * 50, i)"
    done = python(tmp_path, code)
    assert done.tail.endswith("x 299999")
    assert len(done.tail) < 20_000


def test_secrets_are_neither_passed_on_nor_shown(tmp_path, monkeypatch):
    monkeypatch.setenv("FORGE_TOKEN", "tok-12345")
    monkeypatch.setenv("SHOP_DATABASE_URL", "postgresql://u:pa%40ss@db/x")
    monkeypatch.setenv("PYTHONPATH", "https://u:hunter22@index/simple")
    code = """
        import os
        print(sorted(it for it in os.environ if "TOKEN" in it or "URL" in it))
        print("FORGE_TOKEN" in os.environ, "PYTHONPATH" in os.environ)
        print("tok-12345", "pa%40ss", "pa@ss", "hunter22")
        """
    assert python(tmp_path, code).tail.splitlines() == ["[]", "False False", "*** *** *** ***"]


def test_grandchildren_end_with_it_even_those_that_left(tmp_path):
    code = """
        import os, subprocess, sys
        sleeper = [sys.executable, "-c", "import time; time.sleep(600)"]
        pids = [subprocess.Popen(sleeper, start_new_session=left).pid for left in (False, True)]
        if os.fork() == 0:
            os.setsid()
            pids.append(subprocess.Popen(sleeper).pid)  # a daemon, as it is done by the book
            open("pids", "w").write(" ".join(map(str, pids)))
            os._exit(0)
        os.wait()
        """
    assert python(tmp_path, code).status == 0
    assert all(gone(int(it)) for it in (tmp_path / "pids").read_text().split())


def test_nothing_is_left_when_the_line_is_killed(tmp_path):
    inner = "import os, time; open('pid', 'w').write(f'{os.getpid()} '); time.sleep(600)"
    outer = f"""
        import sys
        from andon.adapters.compute import Limits
        from andon.adapters.limited import Work, run
        from pathlib import Path
        run(Work("it", (sys.executable, "-c", {inner!r}), Path.cwd()), Limits(600, 2_000, 1))
        """
    line = subprocess.Popen([sys.executable, "-c", textwrap.dedent(outer)], cwd=tmp_path)
    pid = tmp_path / "pid"
    wait_until(lambda: pid.is_file() and pid.read_text().endswith(" "), 60, "it has begun")
    below = psutil.Process(line.pid).children(recursive=True)
    assert len(below) == 2
    line.kill()
    line.wait()
    wait_until(lambda: all(gone(it.pid) for it in below), 10, "guard and process are gone")


def test_an_exception_in_the_line_ends_it(tmp_path):
    code = """
        import os, time
        os.write(int(os.environ["ANDON_REPORT"]), b'{"pid": %d}\\n' % os.getpid())
        time.sleep(600)
        """
    seen: list[int] = []

    def cancelled(event):
        seen.append(event["pid"])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        python(tmp_path, code, told=cancelled)
    assert gone(seen[0])


def test_events_come_whole_and_rubbish_is_left_out(tmp_path):
    code = """
        import os
        report = int(os.environ["ANDON_REPORT"])
        for part in (b'{"a": ', b'1}\\nnot JSON\\n[1]\\n{"b": "', b"x" * 200_000, b'"}\\n{"cut":'):
            while part: part = part[os.write(report, part):]
        """
    seen: list[dict] = []
    assert python(tmp_path, code, told=seen.append).status == 0
    assert seen == [{"a": 1}, {"b": "x" * 200_000}]


# --- call: a module that takes a request and answers

Asked = Callable[[str], object]


@pytest.fixture
def ask(tmp_path, monkeypatch) -> Asked:
    """Calls a module whose `work` is this code, which may call models/m/pipeline.py."""
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    models = tmp_path / "models" / "m"
    models.mkdir(parents=True)

    def asked(code: str, pipeline: str = "") -> object:
        (models / "pipeline.py").write_text(pipeline)
        head = "import os, sys\nfrom pathlib import Path\nfrom andon.errors import *\n"
        head += "from andon.adapters.child import answer\nfrom andon.adapters import projects\n"
        body = textwrap.indent(textwrap.dedent(code), "    ")
        end = "\nif __name__ == '__main__': answer(work, 'project')\n"
        (tmp_path / "asked.py").write_text(f"{head}def work(request, report):\n{body}{end}")
        request = {"project": str(tmp_path), "n": 20}
        return call("asked", request, LONG, what="the training", folder=tmp_path)[0]

    return asked


LOAD = "projects.load_pipeline(Path(request['project']), 'm')"


def test_a_request_is_answered(ask):
    assert ask("print('noise'); return {'twice': 2 * request['n']}") == {"twice": 40}


def test_what_the_project_raises_names_its_line(ask):
    pipeline = "def help():\n    return {}['age']\n\ndef pipeline():\n    return help()\n"
    with pytest.raises(LineError) as caught:
        ask(LOAD, pipeline)
    lines = str(caught.value).splitlines()
    assert lines[0] == ("models/m/pipeline.py:2: pipeline() raised KeyError: 'age'")
    assert "return {}['age']" in str(caught.value)
    assert lines[-1].strip() == "KeyError: 'age'"


def test_an_error_for_people_stays_the_one_it_was(ask):
    with pytest.raises(DataError) as caught:
        ask("raise DataError('3 rows have none')")
    assert str(caught.value) == "3 rows have none"


@pytest.mark.parametrize(
    ("code", "says"),
    [
        ("raise ZeroDivisionError('by nothing')", "ZeroDivisionError: by nothing"),
        ("sys.exit('enough')", "SystemExit: enough"),
        ("raise MemoryError", "MemoryError"),
        ("print('bye', flush=True); os._exit(0)", "status 0 and without a result.*\nbye"),
        ("os._exit(7)", "the training ended with status 7 and without a result, and wrote nothing"),
        ("raise ValueError(os.environ['HOME'])", r"ValueError: \*\*\*"),
    ],
)
def test_whatever_it_does_the_cause_is_told(ask, code, says, monkeypatch):
    monkeypatch.setenv("HOME", "sesame-opens")
    monkeypatch.setenv("DOOR_SECRET", "sesame-opens")
    with pytest.raises(LineError, match=says):
        ask(code)


def test_a_module_that_is_not_there_says_so(tmp_path):
    with pytest.raises(LineError, match="No module named nowhere"):
        call("nowhere", {}, LONG, what="the training", folder=tmp_path)


def test_the_process_runs_with_as_many_threads_as_are_allowed(tmp_path):
    code = "import os; print(os.environ['OMP_NUM_THREADS'], os.environ['LOKY_MAX_CPU_COUNT'])"
    assert python(tmp_path, code, Limits(seconds=60, memory_mb=500, cpus=3)).tail == "3 3"
    assert os.environ.get("OMP_NUM_THREADS") != "3"
