"""The format of log lines, and which loggers appear."""

import re
import subprocess
import sys

NASTY = """
import logging
from edge_addon.processes import logs
logs.configure("control")
forged = "a\\r\\n2026-11-01T00:00:00+0000 control ERROR forged"
for text in ("a\\x1b[2Jb", forged, "a\\x9b1mb", "a\\u202eb", "a\\x00\\x07b"):
    logging.getLogger("x").warning("GET %s: refused", text)
try:
    raise ValueError("a\\n2026-11-01T00:00:00+0000 control ERROR forged")
except ValueError:
    logging.getLogger("x").exception("failed")
"""


def test_what_strangers_name_is_quoted_and_never_a_line_of_its_own() -> None:
    ended = subprocess.run([sys.executable, "-c", NASTY], capture_output=True, timeout=60, check=True)
    lines = ended.stderr.decode().split("\n")
    assert all(line.isprintable() for line in lines)
    own = [line for line in lines if line.startswith("20")]
    assert [line.split(" ", 1)[1] for line in own] == [
        r"control WARNING GET a\x1b[2Jb: refused",
        r"control WARNING GET a\r",
        r"control WARNING GET a\x9b1mb: refused",
        r"control WARNING GET a\u202eb: refused",
        r"control WARNING GET a\x00\x07b: refused",
        "control ERROR failed",
    ]
    assert sum("forged" in line for line in lines) == 2


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


JOURNAL = """
import logging, os, sys
from edge_addon.processes import logs
status = os.fstat(2)
os.environ["JOURNAL_STREAM"] = f"{status.st_dev}:{status.st_ino if len(sys.argv) < 2 else 1}"
logs.configure("worker 1")
log = logging.getLogger("x")
log.info("serving")
log.warning("two\\nlines")
log.error("bad")
logs.print_error("the end")
"""


def test_journal_gets_the_priority_of_each_line_and_no_time() -> None:
    ended = subprocess.run([sys.executable, "-c", JOURNAL], capture_output=True, text=True, timeout=60, check=True)
    assert ended.stderr.splitlines() == [
        "<6>worker 1 INFO serving",
        "<4>worker 1 WARNING two",
        "<4>    lines",
        "<3>worker 1 ERROR bad",
        "<3>the end",
    ]


def test_inherited_variable_does_not_make_another_file_the_journal() -> None:
    ended = subprocess.run([sys.executable, "-c", JOURNAL, "other"], capture_output=True, text=True, check=True)
    assert "<" not in ended.stderr
    assert ended.stderr.splitlines()[-1] == "the end"
