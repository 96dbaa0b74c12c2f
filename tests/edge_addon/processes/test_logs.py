"""The format of log lines, and which loggers appear."""

import re
import subprocess
import sys

PROGRAM = """
import logging
from edge_addon.processes import logs
logs.configure("supervisor")
logs.configure("worker 1")
logging.getLogger("edge_addon.x").info("from the edge")
logging.getLogger("mitmproxy.x").info("a note of mitmproxy")
logging.getLogger("mitmproxy.x").warning("a warning of mitmproxy")
"""


def test_lines_have_time_process_level_and_text_and_mitmproxy_only_warns() -> None:
    ended = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60, check=True)
    lines = ended.stderr.splitlines()
    assert [line.split(" ", 1)[1] for line in lines] == [
        "worker 1 INFO from the edge",
        "worker 1 WARNING a warning of mitmproxy",
    ]
    assert all(re.match(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} ", line) for line in lines)
