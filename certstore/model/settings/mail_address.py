"""Mail addresses of people who get warnings, in the form that every mail server accepts. Pure.

Stricter than RFC 5322: no quoted local part and no comments. An address goes into a header and an SMTP command, beside
those of other sites, so anything that could end a line there, mean several addresses, or need SMTPUTF8 is refused.
"""

from __future__ import annotations

import re
from email.utils import parseaddr
from typing import Any

from certstore.model.names import DomainName, InvalidName

_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}", re.ASCII)


def parse_address(text: Any) -> str:
    """`ops@example.com`, its domain in A-labels; raises ValueError with what is allowed."""
    local_part, _, domain = text.strip().rpartition("@") if isinstance(text, str) else ("", "", "")
    if not _LOCAL_PART.fullmatch(local_part):
        raise ValueError("expected one plain mail address, for example ops@example.com")
    try:
        return f"{local_part}@{DomainName.parse(domain)}"
    except InvalidName as error:
        raise ValueError(f"expected one plain mail address, for example ops@example.com; {error}") from None


def parse_sender(text: Any) -> str:
    """An address, or `Name <address>`; raises ValueError with what is allowed."""
    if not isinstance(text, str) or not text.strip().isprintable():
        raise ValueError("expected a mail address, for example edge@example.com or Edge <edge@example.com>")
    name, address = parseaddr(text)
    parsed = parse_address(address)
    return text.strip().replace(address, parsed) if name else parsed


CONTACTS_MOST = 10


def check_contacts(contacts: tuple[str, ...]) -> tuple[str, ...]:
    """The contacts of one site; raises ValueError for too many."""
    if len(contacts) > CONTACTS_MOST:
        raise ValueError(f"{len(contacts)} contacts, and a site may have {CONTACTS_MOST}; use the address of a list")
    return contacts
