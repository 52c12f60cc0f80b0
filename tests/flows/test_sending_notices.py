"""Messages on incidents, by real Prefect blocks, to a real HTTP server."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
import yaml
from incident_kit import FAIL, PASS, Place, place_on
from prefect.blocks.notifications import CustomWebhookNotificationBlock

from tasks import notices

pytestmark = pytest.mark.usefixtures("prefect")


class Inbox:
    """What a service has received; it answers with `status`."""

    def __init__(self) -> None:
        self.got: list[dict[str, str]] = []
        self.status = 200
        this = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                raw = self.rfile.read(int(self.headers["Content-Length"]))
                if this.status == 200:
                    this.got.append(json.loads(raw))
                self.send_response(this.status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    made = Inbox()
    CustomWebhookNotificationBlock(
        name="ops", url=f"http://127.0.0.1:{made.server.server_address[1]}/hook",
        json_data={"title": "{{subject}}", "text": "{{body}}"},
    ).save("ops", overwrite=True, _sync=True)  # fmt: skip
    yield made
    made.server.shutdown()
    made.server.server_close()


def told(place: Place, **routes: object) -> None:
    found = [{"name": "ops", "block": "custom-webhook/ops", **routes}]
    (place.project / "andon.yaml").write_text(yaml.safe_dump({"notify": found}))


def send(place: Place) -> dict[str, str]:
    """Those of this test's model: another one's are on the same ledger."""
    done = notices.send_notices.fn()
    return {it: what for it, what in done.items() if it.startswith(place.model)}


def titles(inbox: Inbox, place: Place) -> list[str]:
    return [it["title"] for it in inbox.got if place.model in it["title"]]


@pytest.fixture(params=["sqlite"])
def watched(request, tmp_path, monkeypatch) -> Iterator[Place]:
    with place_on(request, tmp_path, monkeypatch) as place:
        place.spec([{"kind": "drift", "action": "notify"}])
        place.serve("1")
        yield place


def test_an_incident_is_one_message_and_its_all_clear_another(watched, inbox):
    told(watched)
    for _ in range(20):
        watched.see(drift=FAIL)
        send(watched)
    assert titles(inbox, watched) == [f"Incident: {watched.model} in production (warning)"]
    watched.see(drift=PASS)
    assert list(send(watched).values()) == ["sent"]
    assert titles(inbox, watched)[1:] == [f"All clear: {watched.model} in production (warning)"]
    assert send(watched) == {}, "nothing twice"


def test_a_service_that_is_down_gets_it_when_it_is_back_and_stops_nothing(
    watched, inbox, monkeypatch
):
    told(watched)
    inbox.status = 503
    watched.see(drift=FAIL)
    (said,) = send(watched).values()
    assert "503" in said
    (waiting,) = [it for it in watched.ledger.waiting() if watched.model in it.incident]
    assert (waiting.attempts, waiting.sent_at) == (1, None)
    assert send(watched) == {}, "not at once again"
    watched.see(drift=PASS)
    inbox.status = 200
    now = notices.time.time
    monkeypatch.setattr(notices.time, "time", lambda: now() + 7_200)
    assert list(send(watched).values()) == ["sent"]
    assert titles(inbox, watched) == [f"All clear: {watched.model} in production (warning)"]
    (text,) = [it["text"] for it in inbox.got if watched.model in it["title"]]
    assert len([it for it in text.splitlines() if " UTC: " in it]) == 2, "both are told"


def test_a_block_that_is_not_there_is_told_and_kept(watched, inbox):
    told(watched, block="slack-webhook/nobody")
    watched.see(drift=FAIL)
    (said,) = send(watched).values()
    assert "Prefect has no block slack-webhook/nobody" in said
    assert [it.error for it in watched.ledger.waiting() if watched.model in it.incident]


def test_who_did_not_ask_is_not_told_and_nothing_piles_up(watched, inbox):
    told(watched, severity="critical")
    watched.see(drift=FAIL)
    assert send(watched) == {}
    (incident,) = watched.ledger.open_incidents(watched.model, "production")
    assert watched.ledger.notices(incident.id) == []


def test_at_night_a_warning_waits(watched, inbox, monkeypatch):
    told(watched, quiet={"from": "00:00", "to": "23:59", "zone": "UTC"})
    watched.see(drift=FAIL)
    assert send(watched) == {}
    (waiting,) = [it for it in watched.ledger.waiting() if watched.model in it.incident]
    monkeypatch.setattr(notices.time, "time", lambda: waiting.due + 1)
    assert list(send(watched).values()) == ["sent"]
