"""A program: opens one PKCS #12 file or encrypted key, given as JSON on stdin, and writes what it holds to stdout.

`unlocking` starts it and bounds it. Exit code 3: the file does not open.
"""

import base64
import json
import math
import os
import resource
import signal
import sys
import time
from typing import Any

from certstore.model.certificate.contents import unlock_here

DOES_NOT_OPEN = 3
_START_SECONDS = 2


def main() -> int:
    order = json.load(sys.stdin)
    seconds, memory = order["seconds"], order["memory"]
    os.nice(order["nice"])
    limit = math.ceil(seconds) + _START_SECONDS
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold the key
    password = order["password"]
    answer: dict[str, Any] = {"keys": [], "certificates": []}
    signal.setitimer(signal.ITIMER_PROF, seconds)  # finer than the limit above; its signal ends the process
    code, begun = 0, time.process_time()
    try:
        opened = unlock_here(
            base64.b64decode(order["content"]), None if password is None else base64.b64decode(password)
        )
    except ValueError:
        code = DOES_NOT_OPEN
    else:
        answer["keys"] = [base64.b64encode(each).decode() for each in opened.keys]
        answer["certificates"] = [base64.b64encode(each).decode() for each in opened.certificates]
    json.dump(answer | {"seconds": time.process_time() - begun}, sys.stdout)
    return code


if __name__ == "__main__":
    sys.exit(main())
