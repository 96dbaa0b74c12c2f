"""Each load is counted under callgrind, for the edge and for nginx, and a later run is compared with it."""

import json
from pathlib import Path

import pytest

from tests.bench import instructions
from tests.bench.instructions import LOADS, Load, as_text
from tests.peers import require_peer


@pytest.mark.peer
def test_every_load_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for program in ("valgrind", "nginx", "h2load"):
        require_peer(program)
    monkeypatch.setattr(instructions, "LOADS", {name: Load(5, load.run) for name, load in LOADS.items()})
    result = tmp_path / "counts.json"

    assert instructions.main(["--peer", "certedge", "--peer", "nginx", "--json", str(result)]) == 0

    counts = json.loads(result.read_text())
    assert counts.keys() == {"certedge", "nginx"}
    for found in counts.values():
        assert found.keys() == LOADS.keys()
        assert found["full handshake"] > found["resumed handshake"] > 10_000
        assert found["1 MB body"] > found["GET"] > 1000
    assert "full handshake" in capsys.readouterr().out


def test_a_table_has_the_ratio_to_an_earlier_run() -> None:
    found = {"certedge": dict.fromkeys(LOADS, 2_000_000.0), "nginx": dict.fromkeys(LOADS, 500_000.0)}

    lines = as_text(found, {"certedge": {"GET": 1_000_000.0}}).splitlines()

    assert lines[0].split() == ["thousand", "instructions", "certedge", "nginx"]
    assert next(line for line in lines if line.startswith("GET")).split() == ["GET", "2,000", "x2.000", "500"]
