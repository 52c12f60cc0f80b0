"""Requests with known answers, alone and at a steady rate, against a gateway that can be bad."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import msgspec
import pytest
from driver_world import DriverWorld
from support import wait_until

from andon.adapters.driver import Order
from andon.adapters.probe import GatewayProbe
from andon.adapters.watching.loading import GatewayLoad, Loading
from andon.checks import LoadRun, load
from andon.errors import GatewayError
from andon.ports import ServerSpec
from andon.rollout import Phase
from andon.settings import Settings
from andon.spec import AllAtOnce, Canary, Limits, Load, NoErrors, Staging, Step
from andon.verdict import Outcome
from serving.bundle import Samples
from tasks import release as stations

N = 4
RECORDS = [{"x": i} for i in range(N)]
ANSWERS = [{"value": float(i)} for i in range(N)]


class Gateway:
    """Answers as its versions do; each request waits for `seconds`."""

    def __init__(self) -> None:
        self.seconds, self.status, self.wrong, self.champion = 0.0, 200, False, "1"
        self.routes = True
        self.asked: Counter[tuple[str | None, str | None]] = Counter()
        self.lock = threading.Lock()
        this = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = msgspec.json.decode(self.rfile.read(int(self.headers["Content-Length"])))
                pinned = self.headers["X-Andon-Version"]
                with this.lock:
                    this.asked[pinned, self.headers["X-Andon-Probe"]] += 1
                time.sleep(this.seconds)
                version = pinned or this.champion
                x = body["records"][0]["x"] + (0.5 if this.wrong and version == "2" else 0)
                said = {"version": version, "predictions": [{"id": "?", "value": float(x)}]}
                raw = msgspec.json.encode(said) if this.routes else b"404 page not found\n"
                self.send_response(this.status)
                self.send_header("Content-Length", str(len(raw)))
                self.end_headers()
                self.wfile.write(raw)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def gateway() -> Iterator[Gateway]:
    made = Gateway()
    yield made
    made.server.shutdown()
    made.server.server_close()


class Here(Settings):
    port: int

    @property
    def gateway_port(self) -> int:
        return self.port


@pytest.fixture
def settings(tmp_path, gateway) -> Settings:
    return Here(project=tmp_path, port=gateway.server.server_port)


@pytest.fixture
def spec(tmp_path) -> ServerSpec:
    raw = msgspec.json.encode(Samples(RECORDS, ANSWERS))
    (tmp_path / "samples.json").write_bytes(raw)
    return ServerSpec("staging", "churn", "2", tmp_path, "digest")


def probed(settings: Settings, spec: ServerSpec, n: int, **given):
    return GatewayProbe(settings)(
        environment="staging", model="churn", version="2", bundle=spec.bundle, n=n, **given
    )


def test_a_probe_of_both_has_both_answers(settings, spec, gateway):
    found = probed(settings, spec, N + 1, against="1", mirrored=True)
    assert (found.sent, found.failed, found.wrong, len(found.both)) == (N + 1, 0, 0, N + 1)
    assert found.both[1].record == {"x": 1}
    assert found.both[1].candidate["value"] == found.both[1].champion["value"] == 1.0
    assert gateway.asked == {("2", "1"): N + 1, (None, "1"): N + 1}


def test_without_a_mirror_the_champion_is_asked_by_its_name(settings, spec, gateway):
    probed(settings, spec, N, against="1")
    assert gateway.asked == {("2", "1"): N, ("1", "1"): N}


def test_a_gateway_without_the_route_says_nothing_of_the_version(settings, spec, gateway):
    gateway.status = 404
    assert probed(settings, spec, N).failed == N, "that was the version's own answer"
    gateway.routes = False
    with pytest.raises(GatewayError, match="has no route"):
        probed(settings, spec, N)


def test_a_wrong_answer_is_counted_and_compared_too(settings, spec, gateway):
    gateway.wrong = True
    found = probed(settings, spec, N, against="1")
    assert (found.wrong, len(found.both)) == (N, N)
    assert found.both[0].candidate["value"] != found.both[0].champion["value"]


def test_who_else_answers_for_the_champion_makes_no_pair(settings, spec, gateway):
    gateway.champion = "7"
    found = probed(settings, spec, N, against="1", mirrored=True)
    assert (found.sent, found.failed, found.both) == (N, 0, ())


def test_a_load_is_sent_at_its_rate_pinned_and_marked(settings, spec, gateway):
    run = GatewayLoad(settings)(spec, Load(rps=100, seconds=1), threading.Event())
    assert run is not None
    assert (run.sent, run.failed) == (100, 0)
    assert gateway.asked == {("2", "1"): 100}
    assert 0 < run.rps < 101
    assert run.p50_ms <= run.p95_ms <= run.p99_ms


def test_a_slow_server_is_measured_from_when_requests_were_due(settings, spec, gateway):
    """200 a second and 64 at once, each for half a second: 128 a second is all that it can do."""
    gateway.seconds = 0.5
    run = GatewayLoad(settings)(spec, Load(rps=200, seconds=2), threading.Event())
    assert run is not None
    assert run.p95_ms > 900  # and not the 500 that each took


@pytest.mark.parametrize("bad", ["status", "wrong"])
def test_errors_and_wrong_answers_are_failures(settings, spec, gateway, bad):
    gateway.status, gateway.wrong = (500, False) if bad == "status" else (200, True)
    run = GatewayLoad(settings)(spec, Load(rps=50, seconds=0.2), threading.Event())
    assert run is not None
    assert run.failed == run.sent == 10
    assert ("HTTP 500" if bad == "status" else "expected") in run.example


def test_a_gateway_that_is_not_there_says_nothing_of_the_version(tmp_path, spec):
    nowhere = Here(project=tmp_path, port=1)
    with pytest.raises(GatewayError, match="does not answer"):
        GatewayLoad(nowhere)(spec, Load(rps=50, seconds=0.2), threading.Event())
    owner = Owner()
    loading = Loading(owner, GatewayLoad(nowhere), spec, Load(rps=50, seconds=0.2), 1)
    limits = Limits()
    wait_until(lambda: "answer" in loading.verdict(limits).detail, 30, "the load gives up")
    assert loading.verdict(limits).outcome is Outcome.INCONCLUSIVE


class Owner:
    """Somebody who watches."""


def test_a_load_that_nobody_watches_any_more_stops(settings, spec, gateway):
    owner = Owner()
    loading = Loading(owner, GatewayLoad(settings), spec, Load(rps=20, seconds=3_000), 1)
    wait_until(lambda: gateway.asked.total() > 0, 30, "it has begun")
    del owner
    wait_until(lambda: not _senders(), 30, "it stops")
    assert loading.verdict(Limits()).outcome is Outcome.INCONCLUSIVE


def _senders() -> list[str]:
    return [it.name for it in threading.enumerate() if it.name.startswith("load")]


def run(**changes: float) -> LoadRun:
    return LoadRun(**{
        "sent": 100, "failed": 0, "rps": 50.0, "p50_ms": 1.0, "p95_ms": 2.0, "p99_ms": 3.0,
        **changes,
    })  # type: ignore[arg-type] # fmt: skip


@pytest.mark.parametrize(
    ("runs", "outcome"),
    [
        ([run(), run(), run()], "pass"),
        ([run(), run()], "inconclusive"),  # the third is not done
        ([], "inconclusive"),
        ([run(), run(p95_ms=900.0), run()], "pass"),  # the median decides
        ([run(p95_ms=900.0), run(p95_ms=900.0), run()], "fail"),
        ([run(failed=1)], "fail"),  # whatever the others bring
        ([run(), run(rps=20.0, busy=1.0), run()], "inconclusive"),
        ([run(), run(rps=20.0), run()], "inconclusive"),
        ([run(rps=20.0, busy=1.0, p95_ms=900.0)] * 3, "inconclusive"),  # the sender was slow
        ([run(rps=20.0, busy=0.1, p95_ms=900.0)] * 3, "fail"),  # the server was
    ],
)
def test_what_a_load_says(runs, outcome):
    found = load(runs, 50.0, 3, NoErrors(p95_ms=50.0))
    assert found.outcome.value == outcome
    assert found.n == sum(it.sent for it in runs)


def test_some_errors_may_be_allowed(gateway):
    limits = NoErrors(p95_ms=50.0, error_rate=0.01)
    assert load([run(failed=1)], 50.0, 1, limits).outcome is Outcome.PASS
    assert load([run(failed=2)], 50.0, 1, limits).outcome is Outcome.FAIL


@pytest.mark.parametrize(("p95", "phase"), [(2.0, Phase.PROMOTED), (900.0, Phase.ROLLED_BACK)])
def test_a_release_is_put_under_load_once_it_has_passed_its_first_requests(tmp_path, p95, phase):
    world = DriverWorld(tmp_path)
    sent: list[tuple[float, float]] = []

    def send(spec: ServerSpec, load: Load, stop: threading.Event) -> LoadRun:
        requests = world.gateway.counters[spec.name].requests
        sent.append((requests, load.rps))
        return run(p95_ms=p95)

    world.load = send
    step = Step(weight=100, seconds=0, min_requests=20, gate=("errors", "latency"))
    plan = AllAtOnce(strategy="all_at_once", steps=(step,), on_inconclusive="abort", keep_warm=0)
    # The clock of this world goes by thousands of seconds while the other thread sends.
    release, verdicts = world.release(
        "1", plan=plan, load=Load(rps=50, seconds=2), load_runs=3, inconclusive_seconds=1e9
    )
    assert release.rollout.phase is phase
    assert len(sent) == 3
    assert min(requests for requests, _ in sent) >= 20
    assert {it.check for it in verdicts} >= {"ready", "smoke", "load"}
    world.close()


def test_a_bundle_that_cannot_be_read_is_inconclusive(settings, tmp_path):
    owner = Owner()
    spec = ServerSpec("staging", "churn", "2", Path(tmp_path / "nothing"), "digest")
    loading = Loading(owner, GatewayLoad(settings), spec, Load(), 1)
    wait_until(lambda: "samples.json" in loading.verdict(Limits()).detail, 30, "it says so")


def test_a_version_that_hangs_does_not_keep_its_watch_for_long(settings, spec, gateway):
    gateway.seconds = 1.5
    found = probed(settings, spec, 20)
    assert 1 <= found.sent <= 2


@pytest.mark.parametrize("smoke", [True, False])
def test_staging_asks_for_its_requests_and_its_load_and_gives_them_time(smoke):
    given = Staging(smoke=smoke, requests=100, load=Load(rps=20, seconds=30), runs=3)
    asked = Order("staging", Canary(), Limits(), "test", "r", inconclusive_seconds=60)
    found = stations._in_staging(asked, given)
    (step,) = found.plan.steps
    assert isinstance(step, Step)
    assert (step.weight, step.min_requests) == (100, 100 if smoke else 0)
    assert (found.load, found.load_runs) == (given.load, 3)
    assert found.limits.error_rate == 0
    assert found.inconclusive_seconds >= 60 + 3 * 30
