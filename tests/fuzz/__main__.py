"""Runs the fuzzers: `python -m tests.fuzz [NAME ...] [--inputs N] [--seconds S] [--seed N]`.

Prints the inputs of each, and each fault with the input that showed it. With the same seed the inputs are the same.
Put an input that found something into `tests/fuzz/cases/NAME/`: every run of the tests tries it again.
"""
# ruff: noqa: T201  it prints: that is what it is for

from __future__ import annotations

import argparse
import secrets
import sys
import time
import traceback

from tests.fuzz.inputs import Inputs
from tests.fuzz.target import Target
from tests.fuzz.targets import TARGETS

MOST_FAULTS = 3
"""A fuzzer ends after so many."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description="Run the fuzzers.")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"all if none is given: {', '.join(TARGETS)}")
    parser.add_argument("--inputs", type=int, help="for each fuzzer")
    parser.add_argument("--seconds", type=float, help="for all together")
    parser.add_argument("--seed", type=int, default=secrets.randbelow(2**32))
    options = parser.parse_args()
    unknown = [name for name in options.names if name not in TARGETS]
    if unknown:
        parser.error(f"there is no fuzzer {unknown[0]}")
    names = options.names or list(TARGETS)
    if options.inputs is None and options.seconds is None:
        options.seconds = 60.0
    print(f"seed {options.seed}", flush=True)
    each = None if options.seconds is None else options.seconds / len(names)
    return 1 if sum(run(name, TARGETS[name], options.seed, options.inputs, each) for name in names) else 0


def run(name: str, target: Target, seed: int, inputs: int | None, seconds: float | None) -> int:
    """The number of faults."""
    begun, done, faults = time.monotonic(), 0, 0
    for data in Inputs(target, seed):
        if (inputs is not None and done >= inputs) or (seconds is not None and time.monotonic() - begun > seconds):
            break
        done += 1
        try:
            target.check(data)
        except Exception:  # noqa: BLE001  whatever a parser raises is what is looked for
            faults += 1
            print(f"{name}: {data!r}\n{traceback.format_exc()}", flush=True)
            if faults >= MOST_FAULTS:
                break
    print(f"{name:22}{done:>10,} inputs {time.monotonic() - begun:8.1f} s {faults} faults", flush=True)
    return faults


if __name__ == "__main__":
    sys.exit(main())
