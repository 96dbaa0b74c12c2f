"""One fuzzer guided by coverage: `python -m tests.fuzz.guided NAME [SECONDS]`.

atheris keeps the inputs that reach new lines and changes those. It is not among the test requirements, because it has
no wheels for every Python and platform: `pip install atheris`.
"""

from __future__ import annotations

import importlib
import sys
import tempfile
from pathlib import Path

PACKAGES = ["edge_addon", "certstore"]


def main(name: str, seconds: str = "60") -> int:
    """Run one fuzzer for so long; atheris ends the process at a fault."""
    try:
        atheris = importlib.import_module("atheris")
    except ImportError:
        sys.stderr.write("atheris is not installed here: pip install atheris\n")
        return 2
    with atheris.instrument_imports(include=PACKAGES):
        target = importlib.import_module("tests.fuzz.targets").TARGETS[name]
    with tempfile.TemporaryDirectory() as folder:
        for number, seed in enumerate(target.seeds):
            (Path(folder) / str(number)).write_bytes(seed)
        atheris.Setup([sys.argv[0], folder, f"-max_total_time={seconds}", f"-max_len={target.longest}"], target.check)
        atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
