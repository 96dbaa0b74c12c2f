"""`certedge cert revoke`, against a real Pebble; without a control process."""

import pytest
from cryptography import x509

from certstore.model.layout import FULLCHAIN, Layout
from tests.certstore.cli.command import on_terminal
from tests.certstore.cli.test_orders import Actions, actions, add

__all__ = ["actions"]
pytestmark = pytest.mark.peer


def reason_at_ca(actions: Actions, number: int) -> int | None:
    path = Layout(actions.folder / "store").version("a.test", number) / FULLCHAIN
    return actions.pebble.revocation(x509.load_pem_x509_certificate(path.read_bytes()).serial_number)


def test_live_certificate_is_replaced_and_revoked_after_a_question(actions: Actions) -> None:
    add(actions, "a.test")
    assert actions.run("cert", "request", "a.test").code == 0
    refused = actions.run("cert", "revoke", "a.test")
    assert refused.code == 2
    assert "confirm with --yes" in refused.err
    declined = on_terminal(actions.folder, b"n\n", "cert", "revoke", "a.test")
    assert "a new certificate is ordered and served first" in " ".join(declined.out.split())
    assert declined.code == 1
    assert reason_at_ca(actions, 1) is None
    done = actions.run("cert", "revoke", "a.test", "--reason", "superseded", "--yes")
    assert done.code == 0, done.err
    assert "version 1 is revoked" in done.out
    assert "a.test gets a.test version 2" in done.out
    assert reason_at_ca(actions, 1) == 4
    history = actions.run("cert", "history", "a.test")
    assert [line.split()[1] for line in history.out.splitlines()[1:3]] == ["live", "revoked"]
    rolled = actions.run("cert", "rollback", "a.test", "1")
    assert rolled.code == 1
    assert "was revoked on" in rolled.err


def test_result_as_json(actions: Actions) -> None:
    add(actions, "a.test")
    actions.run("cert", "request", "a.test")
    facts = actions.run("cert", "revoke", "a.test", "--yes", "--no-order", "--json").json
    assert (facts["version"], facts["reason"], facts["served"]["version"]) == (1, "unspecified", 1)
    shown = actions.run("site", "show", "a.test", "--json").json
    assert "live_revoked" in [each["code"] for each in shown["problems"]]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("a.test", "--reason", "boredom"), 2, "allowed: unspecified, key-compromise"),
        (("nowhere.test",), 1, "there is no site nowhere.test"),
        (("a.test", "7"), 1, "a.test has no version 7"),
        (("a.test",), 1, "a.test has no live certificate"),
    ],
)
def test_what_can_t_be_revoked_is_said_before_anything_is_asked(
    actions: Actions, words: tuple[str, ...], code: int, said: str
) -> None:
    add(actions, "a.test")
    ran = actions.run("cert", "revoke", *words, "--yes")
    assert ran.code == code
    assert said in ran.err
