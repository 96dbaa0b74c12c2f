import pytest

from certstore.model.certificate.expiry import CertificateState
from certstore.model.console.standing import LABELS, SiteStatus, decide_status
from certstore.model.settings.models import Source

OK, WARNING, EXPIRED, NONE = (
    CertificateState.OK,
    CertificateState.WARNING,
    CertificateState.EXPIRED,
    CertificateState.NONE,
)


@pytest.mark.parametrize(
    ("source", "state", "problems", "failing", "standing"),
    [
        pytest.param(Source.FILE, OK, [], False, SiteStatus.OK, id="all is well"),
        pytest.param(Source.FILE, WARNING, ["expires_soon"], False, SiteStatus.WARNING, id="expires soon"),
        pytest.param(Source.FILE, EXPIRED, ["expired"], False, SiteStatus.FAILING, id="expired"),
        pytest.param(Source.FILE, OK, ["name_not_covered"], False, SiteStatus.WARNING, id="a name is not covered"),
        pytest.param(Source.ACME, OK, [], True, SiteStatus.WARNING, id="renewal fails with time left"),
        pytest.param(Source.ACME, WARNING, [], True, SiteStatus.FAILING, id="renewal fails and time runs out"),
        pytest.param(Source.ACME, NONE, [], True, SiteStatus.FAILING, id="first order fails"),
        pytest.param(Source.ACME, NONE, [], False, SiteStatus.NO_CERTIFICATE, id="not ordered yet"),
        pytest.param(Source.MAIN, NONE, [], False, SiteStatus.MAIN_USED, id="main is used"),
        pytest.param(Source.MAIN, NONE, ["not_activated"], False, SiteStatus.WARNING, id="a drop that does not count"),
        pytest.param(None, NONE, ["settings_invalid"], False, SiteStatus.FAILING, id="could not become a site"),
    ],
)
def test_standing(
    source: Source | None, state: CertificateState, problems: list[str], failing: bool, standing: SiteStatus
) -> None:
    assert decide_status(source, state, problems, is_order_failing=failing) is standing


def test_every_status_has_a_label() -> None:
    assert set(LABELS) == set(SiteStatus)
