"""What is wrong with `acme.dns` on this machine, without asking any server: files, programs, libraries.

Whether a server accepts the credentials, a preflight of a site finds out.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from certstore.acme.dns.credentials import read_credentials, read_credentials_text
from certstore.acme.dns.lexicon import find_fault
from certstore.acme.dns.tsig import read_tsig_key
from certstore.acme.dns.zone_writer import CannotWrite
from certstore.model.settings.dns import DnsSettings, DnsWay, ExecSettings, LexiconSettings, Rfc2136Settings


@dataclass(frozen=True, slots=True)
class SetupFault:
    """`key` is the setting in edge.yaml, `remedy` what to do, perhaps empty."""

    key: str
    found: str
    remedy: str = ""


def find_setup_faults(settings: DnsSettings, base: Path) -> list[SetupFault]:
    """`base` is the folder of edge.yaml."""
    return [fault for key, way in settings.ways() if (fault := _fault(key, way, base)) is not None]


def _fault(key: str, way: DnsWay, base: Path) -> SetupFault | None:
    try:
        match way:
            case Rfc2136Settings():
                key = f"{key}.tsig_secret_file"
                read_tsig_key(base / way.tsig_secret_file, way)
            case LexiconSettings():
                if (fault := find_fault(way)) is not None:
                    return SetupFault(f"{key}.provider", *fault)
                key = f"{key}.credentials_file"
                if way.credentials_file is not None:
                    read_credentials(base / way.credentials_file)
            case ExecSettings():
                if not os.access(way.command[0], os.X_OK):
                    return SetupFault(key, f"{way.command[0]} is not a program that can be started")
                key = f"{key}.credentials_file"
                if way.credentials_file is not None:
                    read_credentials_text(base / way.credentials_file, "credentials_file")
    except CannotWrite as error:
        return SetupFault(key, str(error), error.remedy)
    return None
