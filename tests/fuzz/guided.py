"""The same fuzzers guided by coverage: atheris keeps the inputs that reach new lines and changes those.

It is not among the test requirements, as it has no wheels for every Python and platform: `pip install atheris`.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

from tests.fuzz.target import Target


def run_guided(target: Target, seconds: float) -> int:
    """Run one fuzzer for so long; ends the process at a fault."""
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        sys.stderr.write("atheris is not installed here: pip install atheris\n")
        return 2
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.instrument_all()
        atheris.Setup(
            [sys.argv[0], folder, f"-max_total_time={int(seconds)}", f"-max_len={target.longest}"], target.check
        )
        atheris.Fuzz()
    return 0
