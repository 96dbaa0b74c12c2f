"""The process in which dns-lexicon runs: `python -m certstore.acme.dns.lexicon_child`.

It reads one order as JSON from its standard input and writes `{}`, or `{"trouble": …, "text": …}`, to its output. What
the library and the providers print goes nowhere. Credentials come by the pipe, so that no list of processes shows them.
"""

from __future__ import annotations

import functools
import json
import os
import sys
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

_OF_ALL_PROVIDERS = frozenset({"ttl", "priority"})


class Trouble(StrEnum):
    NOT_USABLE = "not_usable"
    CREDENTIALS = "credentials"
    OTHER = "other"


def main() -> None:
    order = json.load(sys.stdin)
    answer_to = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    answer_to.write(json.dumps(carry_out(order)))
    answer_to.close()


def carry_out(order: Mapping[str, Any]) -> dict[str, str]:
    """The answer. Never raises."""
    try:
        import tldextract
        from lexicon.client import Client
        from lexicon.config import ConfigResolver, DictConfigSource
        from lexicon.exceptions import AuthenticationError, ProviderNotAvailableError
    except ImportError as error:
        return _trouble(Trouble.NOT_USABLE, error)
    # The zone is known: the list of public suffixes, which this would fetch from the internet, is not needed.
    without_net: Any = functools.partial(tldextract.TLDExtract, suffix_list_urls=())
    setattr(tldextract, "TLDExtract", without_net)  # noqa: B010  the name is a class, as type checkers see it
    config: Any = ConfigResolver
    try:
        client = Client(config().with_dict(_settings(order)))
        # The library guesses the zone by its list of suffixes, and wrongly below a name that the list lacks.
        client.config.add_config_source(DictConfigSource({"domain": order["zone"]}), 0)
        with client as operations:
            for value in order["values"]:
                if order["action"] == "add":
                    operations.create_record("TXT", order["name"], value)
                else:
                    operations.delete_record(None, "TXT", order["name"], value)
    except (ProviderNotAvailableError, ImportError) as error:
        return _trouble(Trouble.NOT_USABLE, error)
    except AuthenticationError as error:
        return _trouble(Trouble.CREDENTIALS, error)
    except Exception as error:  # noqa: BLE001  whatever a provider's driver raises
        response = getattr(error, "response", None)
        is_refused = getattr(response, "status_code", None) in (401, 403)
        return _trouble(Trouble.CREDENTIALS if is_refused else Trouble.OTHER, error)
    return {}


def _settings(order: Mapping[str, Any]) -> dict[str, Any]:
    provider, zone, options = order["provider"], order["zone"], order["options"]
    general = {key: value for key, value in options.items() if key in _OF_ALL_PROVIDERS}
    own = {key: value for key, value in options.items() if key not in _OF_ALL_PROVIDERS}
    return {"provider_name": provider, "domain": zone, **general, provider: own}


def _trouble(trouble: Trouble, error: Exception) -> dict[str, str]:
    return {"trouble": trouble, "text": f"{type(error).__name__}: {error}"[:2000]}


if __name__ == "__main__":
    main()
