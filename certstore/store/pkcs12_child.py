"""A program of its own: opens one PKCS #12 file, given as JSON on stdin, and writes what it holds to stdout.

`pkcs12_process` starts it. Exit code 3: it does not open.
"""

import base64
import json
import resource
import sys

from certstore.model.certificate.contents import open_here

DOES_NOT_OPEN = 3


def main() -> int:
    order = json.load(sys.stdin)
    seconds, memory = order["seconds"], order["memory"]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its memory has the key in it
    password = order["password"]
    try:
        opened = open_here(base64.b64decode(order["content"]), None if password is None else base64.b64decode(password))
    except ValueError:
        return DOES_NOT_OPEN
    key = None if opened.key is None else base64.b64encode(opened.key).decode()
    json.dump(
        {"key": key, "certificates": [base64.b64encode(each).decode() for each in opened.certificates]}, sys.stdout
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
