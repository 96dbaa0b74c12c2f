"""What the process around dns-lexicon answers when the library is not what it expects."""

import json
import subprocess
import sys

from certstore.acme.dns.lexicon_child import Trouble, carry_out

ORDER = {"provider": "nobody", "options": {}, "zone": "a.test", "name": "x.a.test", "values": ["v"], "action": "add"}


def test_a_provider_that_does_not_exist_is_trouble_and_no_exception() -> None:
    assert carry_out(ORDER)["trouble"] == Trouble.NOT_USABLE


def test_its_output_is_one_json_object() -> None:
    command = [sys.executable, "-P", "-m", "certstore.acme.dns.lexicon_child"]
    ended = subprocess.run(command, input=json.dumps(ORDER).encode(), capture_output=True, check=True)
    assert json.loads(ended.stdout)["trouble"] == Trouble.NOT_USABLE
