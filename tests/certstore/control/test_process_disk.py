"""Control on a file system that is really full or read-only, in a mount namespace."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from certstore.control.commands.requests import RemoveSiteRequest
from certstore.control.protocol import Fault, RequestFailed
from certstore.model.record import Outcome
from tests.certstore.control.mounted_control import HOST, MountedControl, fill, mounted_control, needs_mounts

pytestmark = needs_mounts


@pytest.fixture
def control(tmp_path: Path) -> Iterator[MountedControl]:
    with mounted_control(tmp_path) as control:
        yield control


def test_a_full_disk_leaves_what_is_served_and_the_next_try_succeeds(control: MountedControl) -> None:
    first = control.install()
    filler = control.inside / "store/filler"
    fill(filler)
    failed = control.install()
    assert failed.outcome is Outcome.FAILED
    assert "No space left on device" in failed.message
    assert failed.served == first.served
    filler.unlink()
    assert control.install().outcome is Outcome.DONE


def test_a_store_that_became_read_only_is_reported_and_survived(control: MountedControl) -> None:
    first = control.install()
    control.become_read_only()
    failed = control.install()
    assert failed.outcome is Outcome.FAILED
    assert failed.served == first.served
    with pytest.raises(RequestFailed) as caught:
        control.call(RemoveSiteRequest(HOST))
    assert caught.value.fault is Fault.STORAGE
    assert "mount it writable" in caught.value.remedy
    control.become_writable()
    assert control.install().outcome is Outcome.DONE
