"""Mails arrive when they should, and once, despite restarts, kills and servers that are down."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path

import pytest

from certstore.model.duty import Duty
from certstore.model.layout import Layout
from certstore.model.notify.due_notices import Told
from certstore.model.notify.standing_problems import FoundProblem
from certstore.model.notify.warnings import Matter, WatchedSite, decide_matter, stalled
from certstore.model.renewal.decision import LiveCertificate, Origin
from certstore.model.renewal.failure import Cause, Failure
from certstore.model.renewal.state import FRESH, RenewalState
from certstore.model.settings.models import NotifySettings, Source
from certstore.notify.channel import ChannelFailed
from certstore.notify.notifier import Notifier
from certstore.notify.told_sharing import ToldSharing
from tests.peers.mail_server import MailServer

BEGIN = datetime(2027, 3, 1, 12, tzinfo=UTC)
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)


@dataclass
class Office:
    """Sites whose certificates end on day 30, and the notifier that watches them; days are counted from BEGIN."""

    folder: Path
    server: MailServer
    now: datetime = BEGIN
    states: dict[str, RenewalState] = field(default_factory=dict)
    renewed: set[str] = field(default_factory=set)
    contacts: dict[str, tuple[str, ...]] = field(default_factory=dict)
    extra: list[Matter] = field(default_factory=list)
    problems: list[FoundProblem] = field(default_factory=list)

    def notifier(
        self,
        duty: Duty | None = None,
        told: ToldSharing | None = None,
        store: str = "store",
        node: str = "",
        **changes: object,
    ) -> Notifier:
        settings = NotifySettings.model_validate({**self.server.settings(), **changes})
        layout = Layout(self.folder / store)
        for each in (layout.state, layout.temporary):
            each.mkdir(parents=True, exist_ok=True)
        return Notifier(
            settings,
            self.folder,
            layout,
            self.matters,
            edge="edge.test",
            clock=lambda: self.now,
            duty=duty,
            problems=lambda now: self.problems,
            node=node,
            told=told,
        )

    def matters(self, now: datetime) -> list[tuple[Matter, tuple[str, ...]]]:
        found = [(matter, ()) for matter in self.extra]
        result: list[tuple[Matter, tuple[str, ...]]] = list(found)
        for site, state in self.states.items():
            begin = BEGIN + 25 * DAY if site in self.renewed else BEGIN - 60 * DAY
            live = LiveCertificate(f"{site}{begin}", (site,), begin, begin + 90 * DAY, Origin.ACME, "ca")
            watched = WatchedSite(site, (site, f"imap.{site}"), Source.ACME, live, state)
            if (matter := decide_matter(watched, now)) is not None:
                result.append((matter, self.contacts.get(site, ())))
        return result

    def pass_days(self, notifier: Notifier, days: float, *, hours: int = 2) -> None:
        end = self.now + days * DAY
        while self.now < end:
            notifier.round()
            self.now += timedelta(hours=hours)

    @property
    def sent(self) -> list[tuple[int, str]]:
        return [((parsed - BEGIN) // DAY, str(each["Subject"])) for each, parsed in self._dated()]

    def _dated(self) -> list[tuple[EmailMessage, datetime]]:
        return [(each, each["Date"].datetime) for each in self.server.messages]


@pytest.fixture
def office(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Office]:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "mail-ca.pem"))
    with MailServer(tmp_path) as server:
        yield Office(tmp_path, server)


FAILED = RenewalState(
    failures=3,
    failing_since=BEGIN - timedelta(hours=1),
    failure=Failure(Cause.PAUSED, "this name is paused", ("a.test",), link="https://ca.test/unpause"),
    next_attempt=BEGIN + DAY,
)


def parts(message: EmailMessage) -> tuple[str, str]:
    text, html = message.get_body(("plain",)), message.get_body(("html",))
    assert text is not None
    assert html is not None
    return text.get_content(), html.get_content()


class Turn:
    """A duty that the test gives and takes."""

    is_ours = False

    def is_mine(self) -> bool:
        return self.is_ours

    def is_mine_to_warn(self) -> bool:
        return self.is_ours


def test_only_the_node_that_has_the_duty_sends_anything(office: Office) -> None:
    office.states["a.test"] = FAILED
    turn = Turn()
    notifier = office.notifier(duty=turn)
    office.pass_days(notifier, 1)
    assert office.sent == []
    notifier.test()  # a person asks
    assert len(office.sent) == 1
    turn.is_ours = True
    office.pass_days(notifier, 1)
    notifier.stop()
    assert len(office.sent) == 2


class Together:
    """One of two nodes, as what it shares with the other one."""

    def __init__(self) -> None:
        self.other = self
        self.heard: dict[str, Told] = {}

    def offer(self, told: Mapping[str, Told]) -> None:
        """Both begin with nothing."""
        assert not told

    def news(self) -> Mapping[str, Told]:
        heard, self.heard = self.heard, {}
        return heard

    def tell(self, recipient: str, told: Told) -> None:
        self.other.heard[recipient] = told


def test_nodes_that_take_turns_send_each_mail_once(office: Office) -> None:
    office.states["a.test"] = FAILED
    turns, sharings = [Turn(), Turn()], [Together(), Together()]
    sharings[0].other, sharings[1].other = sharings[1], sharings[0]
    nodes = [office.notifier(turns[number], sharings[number], f"store-{number}") for number in range(2)]
    for hours in range(0, 29 * 24, 2):
        turns[0].is_ours, turns[1].is_ours = (hours // 10) % 2 == 0, (hours // 10) % 2 == 1
        for node in nodes:
            node.round()
        office.now += timedelta(hours=2)
    for node in nodes:
        node.stop()
    together = office.sent

    office.now = BEGIN
    office.server.messages.clear()
    alone = office.notifier()
    office.pass_days(alone, 29)
    alone.stop()
    assert together == office.sent
    assert len(together) > 3


def test_five_days_are_five_mails_after_one_notice_and_then_it_is_resolved(office: Office) -> None:
    office.states["a.test"] = FAILED
    notifier = office.notifier()
    office.pass_days(notifier, 29)
    office.states["a.test"] = FRESH
    office.renewed.add("a.test")
    office.pass_days(notifier, 3)
    notifier.stop()
    days = [day for day, _ in office.sent]
    assert days == [0, 25, 26, 27, 28, 29]
    subjects = [subject for _, subject in office.sent]
    assert "can't be renewed" in subjects[0]
    assert all("expires in" in subject for subject in subjects[1:5])
    assert "resolved" in subjects[5]
    assert "\n  a.test\r\n" in parts(office.server.messages[5])[0]


def test_mail_has_all_facts_in_text_and_html(office: Office) -> None:
    office.states["a.test"] = FAILED
    office.now = BEGIN + 26 * DAY
    notifier = office.notifier()
    notifier.round()
    notifier.stop()
    (message,) = office.server.messages
    assert message["From"] == "Edge <edge@example.org>"
    assert message["Auto-Submitted"] == "auto-generated"
    for content in parts(message):
        for words in (
            "a.test",
            "imap.a.test",
            "Wednesday, 31 March 2027, 12:00 UTC (in 4 days)",
            "this name is paused",
            "https://ca.test/unpause",
            "3 attempts",
            "open the CA",
        ):
            assert words in content, words


def test_text_from_others_is_escaped_in_html(office: Office) -> None:
    failure = Failure(Cause.CA_ERROR, '<script>alert("x")</script>')
    office.states["a.test"] = RenewalState(failures=3, failing_since=BEGIN - DAY, failure=failure)
    notifier = office.notifier()
    notifier.round()
    notifier.stop()
    assert "<script>" not in parts(office.server.messages[0])[1]


def test_digest_is_one_mail_for_many_sites_and_contacts_get_theirs(office: Office) -> None:
    for number in range(250):
        office.states[f"s{number}.test"] = FAILED
    office.contacts["s7.test"] = ("owner@example.org",)
    office.now = BEGIN + 26 * DAY
    notifier = office.notifier()
    notifier.round()
    notifier.stop()
    assert sorted(str(each["To"]) for each in office.server.messages) == ["admin@example.org", "owner@example.org"]
    text = parts(next(each for each in office.server.messages if each["To"] == "admin@example.org"))[0]
    assert "and 50 more sites" in text
    own = parts(next(each for each in office.server.messages if each["To"] == "owner@example.org"))[0]
    assert "s7.test" in own
    assert "s8.test" not in own


def test_restart_sends_nothing_again(office: Office) -> None:
    office.states["a.test"] = FAILED
    for _ in range(5):
        notifier = office.notifier()
        notifier.round()
        notifier.stop()
    assert len(office.server.messages) == 1


def test_server_that_is_down_is_reported_and_tried_again(office: Office) -> None:
    office.states["a.test"] = FAILED
    office.server.stop()
    notifier = office.notifier()
    notifier.round()
    assert notifier.problem is not None
    assert "refused" in notifier.problem
    office.server.start()
    notifier.round()
    assert office.server.messages == [], "it gets a minute to recover"
    office.now += 2 * MINUTE
    notifier.round()
    notifier.stop()
    assert len(office.server.messages) == 1
    assert notifier.problem is None


def test_refused_recipient_is_reported_and_does_not_delay_the_others(office: Office) -> None:
    office.states["a.test"] = FAILED
    office.contacts["a.test"] = ("nobody@example.org",)
    office.server.refuse = {"nobody@example.org"}
    notifier = office.notifier()
    for _ in range(5):
        notifier.round()
        office.now += MINUTE
    notifier.stop()
    assert [str(each["To"]) for each in office.server.messages] == ["admin@example.org"]
    assert notifier.problem is not None
    assert "nobody@example.org" in notifier.problem


def test_recipient_that_breaks_the_connection_delays_no_other(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    """Even if no second connection is possible: then it does not go first again."""
    office.states["a.test"] = FAILED
    office.contacts["a.test"] = ("a-hole@example.org",)
    office.server.drop = {"a-hole@example.org"}
    monkeypatch.setattr("certstore.notify.smtp.LOST_AT_MOST", 1)
    notifier = office.notifier()
    for _ in range(3):
        notifier.round()
        office.now += 5 * MINUTE
    notifier.stop()
    assert [str(each["To"]) for each in office.server.messages] == ["admin@example.org"]
    assert notifier.problem is not None
    assert "421" in notifier.problem


def test_administrators_template_is_used_unless_it_is_broken(office: Office) -> None:
    folder = office.folder / "templates"
    folder.mkdir()
    (folder / "warning.txt").write_text("{{ subject }} -- call the help desk")
    office.states["a.test"] = FAILED
    notifier = office.notifier(templates="templates")
    notifier.round()
    notifier.stop()
    assert "call the help desk" in parts(office.server.messages[0])[0]
    (folder / "warning.txt").write_text("{{ no_such_thing }}")
    office.states["b.test"] = FAILED
    office.now += DAY
    notifier = office.notifier(templates="templates")
    notifier.round()
    notifier.stop()
    assert "b.test" in parts(office.server.messages[1])[0]


@pytest.mark.parametrize("content", ["{{ 1 / 0 }}", "{% include 'test.txt' %}", "{{ edge.no.such }}", "{% if %}"])
def test_test_mail_reports_a_faulty_template(office: Office, content: str) -> None:
    (office.folder / "templates").mkdir()
    (office.folder / "templates" / "test.txt").write_text(content)
    notifier = office.notifier(templates="templates")
    with pytest.raises(ChannelFailed, match=r"a template in notify\.templates templates can't be used"):
        notifier.test()


@pytest.mark.parametrize(
    "content",
    ["Grüße {{ edge }}".encode("latin-1"), b"{{ 1 / 0 }}", b"{{ 1 + edge }}"],
    ids=["not UTF-8", "an arithmetic error", "a wrong type"],
)
def test_faulty_template_does_not_stop_a_warning(office: Office, content: bytes) -> None:
    (office.folder / "templates").mkdir()
    (office.folder / "templates" / "warning.txt").write_bytes(content)
    office.states["a.test"] = FAILED
    notifier = office.notifier(templates="templates")
    notifier.round()
    notifier.stop()
    assert "a.test" in parts(office.server.messages[0])[0]


def test_address_that_needs_a_missing_extension_delays_no_other(office: Office) -> None:
    office.states["a.test"] = FAILED
    office.contacts["a.test"] = ("jörg@example.org",)  # settings refuse such an address; a command may still get it
    office.server.stop()
    office.server.takes_utf8 = False
    office.server.start()
    notifier = office.notifier()
    for _ in range(3):
        notifier.round()
        office.now += MINUTE
    notifier.stop()
    assert [str(each["To"]) for each in office.server.messages] == ["admin@example.org"]


def test_stalled_loop_is_reported(office: Office) -> None:
    office.extra = [stalled(BEGIN - timedelta(hours=1))]
    notifier = office.notifier()
    notifier.round()
    notifier.stop()
    (message,) = office.server.messages
    assert "has stopped" in str(message["Subject"])
    assert "has not completed a round since Monday, 1 March 2027, 11:00 UTC" in parts(message)[0]


def test_nothing_is_sent_without_a_mail_server(office: Office) -> None:
    office.states["a.test"] = FAILED
    notifier = office.notifier(smtp=None)
    notifier.round()
    notifier.stop()
    assert office.server.messages == []


def test_test_mail_goes_to_everybody(office: Office) -> None:
    notifier = office.notifier(to=["one@example.org", "two@example.org"])
    assert notifier.test() == (["one@example.org", "two@example.org"], [])
    notifier.stop()
    assert [str(each["To"]) for each in office.server.messages] == ["one@example.org", "two@example.org"]


_CHILD = """
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from certstore.model.layout import Layout
from certstore.model.settings.models import NotifySettings
from certstore.model.notify.warnings import stalled
from certstore.notify.notifier import Notifier
from certstore.notify.channel import ChannelFailed
import json
folder = Path(sys.argv[1])
settings = NotifySettings.model_validate(json.loads(sys.argv[2]))
now = datetime(2027, 3, 1, 12, tzinfo=UTC)
matters = lambda at: [(stalled(now - timedelta(hours=1)), ())]
notifier = Notifier(settings, folder, Layout(folder / "store"), matters, edge="edge.test", clock=lambda: now)
notifier.round()
notifier.stop()
"""


def test_kill_at_any_point_loses_no_mail_and_repeats_none_with_another_id(office: Office) -> None:
    """Killed when the server has the message, before its 250: the mail is sent again with the same Message-ID."""
    import json

    office.notifier().stop()
    command = [sys.executable, "-c", _CHILD, str(office.folder), json.dumps(office.server.settings())]
    children: list[subprocess.Popen[bytes]] = []
    office.server.after_data = lambda message: os.kill(children[-1].pid, signal.SIGKILL)
    for expected in (-signal.SIGKILL, -signal.SIGKILL):
        children.append(subprocess.Popen(command))
        assert children[-1].wait(60) == expected
    office.server.after_data = lambda message: None
    for _ in range(2):
        assert subprocess.run(command, check=False, timeout=60).returncode == 0
    assert len(office.server.messages) == 3, "twice before its 250, then once accepted, then never again"
    assert len({each["Message-ID"] for each in office.server.messages}) == 1


def test_storm_of_failures_is_one_mail_after_ten_minutes_and_then_one_an_hour(office: Office) -> None:
    failure = Failure(Cause.TERMS, "the terms changed")
    notifier = office.notifier()
    for minute in range(150):
        if minute % 5 == 0:
            office.states[f"s{minute:03}.test"] = FRESH.after_failure(
                failure, office.now, request="r", lifetime=None, fraction=0.5
            )
        notifier.round()
        office.now += MINUTE
    notifier.stop()
    minutes = [(each["Date"].datetime - BEGIN) // MINUTE for each in office.server.messages]
    assert minutes == [10, 70, 130]
    texts = [parts(message)[0] for message in office.server.messages]
    assert "s000.test" in texts[0]
    assert "s010.test" in texts[0]
    assert "s015.test" not in texts[0]
    assert "s070.test" in texts[1]
    assert "s000.test" not in texts[1]


FULL = FoundProblem("disk_full", "", "the disk of /store is full (only 3 MB are free): free <some> space")
AWAY = FoundProblem("node_gone", "edge-b", "edge-b does not report", is_common=True)


def pass_minutes(office: Office, notifier: Notifier, minutes: int) -> None:
    for _ in range(minutes):
        notifier.round()
        office.now += MINUTE


def test_full_disk_is_mailed_to_operators_after_ten_minutes_and_its_end_too(office: Office) -> None:
    office.states["a.test"] = FAILED
    office.contacts["a.test"] = ("tenant@example.org",)
    office.problems = [FULL]
    notifier = office.notifier()
    pass_minutes(office, notifier, 15)
    office.problems = []
    pass_minutes(office, notifier, 90)
    notifier.stop()
    told = [each for each in office.server.messages if "of the service" in str(each["Subject"])]
    assert [(str(each["To"]), str(each["Subject"])) for each in told] == [
        ("admin@example.org", "[edge.test] Problem of the service: the disk is full"),
        ("admin@example.org", "[edge.test] Problem of the service resolved: the disk is full"),
    ]
    assert (told[0]["Date"].datetime - BEGIN) // MINUTE == 10
    text, html = parts(told[0])
    assert "only 3 MB are free" in text
    assert "Since:         Monday, 1 March 2027, 12:00 UTC" in text
    assert "&lt;some&gt;" in html
    assert "the disk is full" in parts(told[1])[1]
    assert "certificate problems" not in parts(told[1])[0]
    others = [parts(each)[0] for each in office.server.messages if each["To"] == "tenant@example.org"]
    assert others
    assert not any("disk" in each for each in others)


def test_each_node_tells_its_own_problems_and_only_one_what_all_find(office: Office) -> None:
    office.problems = [FULL, AWAY]
    turn = Turn()
    notifier = office.notifier(duty=turn, node="edge-a")
    pass_minutes(office, notifier, 15)
    (message,) = office.server.messages
    assert str(message["Subject"]) == "[edge.test] edge-a: Problem of the service: the disk is full"
    assert "(node edge-a)" in parts(message)[0]
    turn.is_ours = True
    pass_minutes(office, notifier, 5)
    notifier.stop()
    assert str(office.server.messages[1]["Subject"]) == (
        "[edge.test] Problem of the service: a node does not report: edge-b"
    )
    assert len(office.server.messages) == 2


def test_node_that_takes_the_duty_over_does_not_tell_again_what_all_find(office: Office) -> None:
    office.problems = [AWAY]
    turns, sharings = [Turn(), Turn()], [Together(), Together()]
    sharings[0].other, sharings[1].other = sharings[1], sharings[0]
    first = office.notifier(turns[0], sharings[0], "store-0")
    turns[0].is_ours = True
    first.round()
    office.now += timedelta(seconds=30)
    second = office.notifier(turns[1], sharings[1], "store-1")
    for minute in range(5 * 60):
        turns[0].is_ours, turns[1].is_ours = (minute // 40) % 2 == 0, (minute // 40) % 2 == 1
        for node in (first, second):
            node.round()
        office.now += MINUTE
    first.stop()
    second.stop()
    assert len(office.server.messages) == 1


def test_restart_tells_a_problem_of_the_service_once(office: Office) -> None:
    office.problems = [FULL]
    for _ in range(6):
        notifier = office.notifier()
        pass_minutes(office, notifier, 4)
        notifier.stop()
    assert len(office.server.messages) == 1


def test_problems_that_cannot_be_looked_at_do_not_stop_other_warnings(office: Office) -> None:
    office.states["a.test"] = FAILED
    office.problems = None  # type: ignore[assignment]  # anything that raises
    notifier = office.notifier()
    notifier.round()
    notifier.stop()
    assert len(office.server.messages) == 1


def test_problems_that_cannot_be_looked_at_after_a_start_are_not_over(office: Office) -> None:
    office.problems = [AWAY]
    turn = Turn()
    turn.is_ours = True
    notifier = office.notifier(duty=turn, node="edge-a")
    pass_minutes(office, notifier, 15)
    notifier.stop()
    office.problems = None  # type: ignore[assignment]  # anything that raises
    office.now += timedelta(hours=2)
    notifier = office.notifier(duty=turn, node="edge-a")
    pass_minutes(office, notifier, 15)
    notifier.stop()
    assert len(office.server.messages) == 1
