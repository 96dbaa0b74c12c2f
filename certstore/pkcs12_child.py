"""A program of its own: opens one PKCS #12 file, given as JSON on stdin, and writes what it holds to stdout.

For `pkcs12_process`, which starts it by its path: nothing of this package is imported. Exit code 3: it does not open.
"""

import base64
import json
import resource
import sys

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, pkcs12

DOES_NOT_OPEN = 3


def main() -> int:
    order = json.load(sys.stdin)
    seconds, memory = order["seconds"], order["memory"]
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # its memory has the key in it
    password = order["password"]
    try:
        opened = pkcs12.load_pkcs12(
            base64.b64decode(order["content"]), None if password is None else base64.b64decode(password)
        )
        key = opened.key and opened.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return DOES_NOT_OPEN
    certificates = [
        each.certificate.public_bytes(Encoding.DER) for each in (opened.cert, *opened.additional_certs) if each
    ]
    json.dump(
        {
            "key": key and base64.b64encode(key).decode(),
            "certificates": [base64.b64encode(each).decode() for each in certificates],
        },
        sys.stdout,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
