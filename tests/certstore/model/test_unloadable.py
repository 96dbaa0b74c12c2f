"""What people and reports are told about a live certificate that can't be loaded."""

import pytest

from certstore.model.unloadable import Unloadable, main_first


@pytest.mark.parametrize(
    ("found", "instead"),
    [
        (Unloadable("main", 3, "ca md too weak", 2), "version 2 is served in its place"),
        (Unloadable("main", 3, "permission denied", 3), "it is served as it was loaded before"),
        (Unloadable("a.test", 1, "pem lib", None), "the main certificate is served in its place"),
        (Unloadable("main", 1, "pem lib", None), "nothing can be served"),
    ],
)
def test_message_and_report(found: Unloadable, instead: str) -> None:
    what = f"version {found.version} of {found.site}, which is live, can't be loaded ({found.reason})"
    assert found.message == f"{what}: {instead}"
    assert Unloadable.from_json(found.to_json()) == found


def test_main_comes_first_and_each_site_once() -> None:
    one, main = Unloadable("a.test", 1, "x", None), Unloadable("main", 1, "x", 2)
    assert main_first([one, main, one]) == [main, one]
    with pytest.raises(ValueError, match="unpack"):
        Unloadable.from_json(["main"])
