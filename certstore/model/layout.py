"""Where everything lies in a store: the only module that knows its file names.

Pure paths: nothing here touches a disk. SITE arguments are keys that have passed `names.is_site_key`. Nothing that a
client sends becomes a part of a path, except a challenge token that matches `TOKEN`.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from certstore.model.challenge import is_token

FULLCHAIN = "fullchain.pem"
PRIVKEY = "privkey.pem"
CERT = "cert.pem"
CHAIN = "chain.pem"
COMBINED = "combined.pem"
FULLCHAIN_RSA = "fullchain-rsa.pem"
PRIVKEY_RSA = "privkey-rsa.pem"
META = "meta.json"
SITE_YAML = "site.yaml"
DROP_SUFFIX = ".pem"
"""The suffix of a drop that is one file; before it comes a site's key or host."""

_JSON = ".json"
# Patterns for `Path.glob` in the folder of the same name.
ACCOUNT_KEYS = "*/key.pem"
ORDERS = "*.json"
RECORDS = "*.json"
WORKER_REPORTS = "worker-*.json"

AUDIT_LOG = "audit.jsonl"
AUDIT_PARTS = f"audit-{'[0-9]' * 15}.jsonl"
"""Matches nothing else: people may keep exports, with dates in their names, in the same folder."""


def audit_part(begins: int) -> str:
    """The name of a full part of the audit log; `begins` is the position of its first byte in the whole log."""
    return f"audit-{begins:015d}.jsonl"


def audit_part_begins(path: Path) -> int:
    """The inverse of `audit_part`."""
    return int(path.stem.removeprefix("audit-"))


def site_of_records(name: str) -> str | None:
    """The site that a file of this name in the folder of records belongs to; None for other files."""
    return name.removesuffix(_JSON) if name.endswith(_JSON) else None


def damaged(path: Path) -> Path:
    """Where a copy is kept of a state file that could not be understood as a whole, for a person to look at."""
    return path.with_name(f"{path.name}.damaged")


@dataclass(frozen=True, slots=True)
class Layout:
    """The paths below one store's root folder."""

    root: Path

    # What people write

    @property
    def domains(self) -> Path:
        return self.root / "domains"

    def drop_folder(self, site: str) -> Path:
        """The folder where a site's site.yaml and dropped files lie."""
        return self.root / "main" if site == "main" else self.domains / site

    def drop_file(self, site: str) -> Path:
        """A drop that is one file, beside the folders."""
        return self.root / f"main{DROP_SUFFIX}" if site == "main" else self.domains / f"{site}{DROP_SUFFIX}"

    def site_yaml(self, site: str) -> Path:
        return self.drop_folder(site) / SITE_YAML

    # What is served, and what it is made from

    @property
    def live_folder(self) -> Path:
        return self.root / "live"

    def live(self, site: str) -> Path:
        """The symlink that names the served version."""
        return self.live_folder / site

    def live_target(self, site: str, version: int) -> str:
        """What the `live` link holds: relative, so that a store can be moved or mounted elsewhere."""
        return f"../archive/{site}/{version}"

    @property
    def archive(self) -> Path:
        return self.root / "archive"

    def versions(self, site: str) -> Path:
        return self.archive / site

    def version(self, site: str, version: int) -> Path:
        return self.archive / site / str(version)

    # What the control process keeps

    @property
    def records_folder(self) -> Path:
        return self.root / "records"

    def records(self, site: str) -> Path:
        return self.records_folder / f"{site}{_JSON}"

    @property
    def challenges(self) -> Path:
        return self.root / "challenges"

    def challenge(self, token: str) -> Path | None:
        """Where the token's key authorization lies, or None when the text can't be a token."""
        return self.challenges / token if is_token(token) else None

    @property
    def accounts(self) -> Path:
        return self.root / "accounts"

    @property
    def state(self) -> Path:
        return self.root / "state"

    @property
    def snapshot_journal(self) -> Path:
        return self.state / "snapshot.jsonl"

    @property
    def drop_digests(self) -> Path:
        return self.state / "drops.jsonl"

    @property
    def declarations(self) -> Path:
        return self.state / "declarations.jsonl"

    @property
    def tombstones(self) -> Path:
        return self.state / "removed.jsonl"

    @property
    def renewals(self) -> Path:
        """What renewal remembers of each site: failures, next attempts, windows that the CA suggested."""
        return self.state / "renewals.jsonl"

    @property
    def ca_counters(self) -> Path:
        return self.state / "ca_counters.jsonl"

    @property
    def mails(self) -> Path:
        """What each recipient has been mailed."""
        return self.state / "mails.jsonl"

    @property
    def orders(self) -> Path:
        """Orders under way, so that the next start continues those that a kill interrupted."""
        return self.state / "orders"

    def order(self, site: str) -> Path:
        return self.orders / f"{site}{_JSON}"

    @property
    def worker_reports(self) -> Path:
        """The counters that workers leave for control: the only files here that workers write."""
        return self.state / "run"

    def worker_report(self, pid: int) -> Path:
        return self.worker_reports / f"worker-{pid}.json"

    @property
    def ended_workers(self) -> Path:
        """The sum of the counters of all workers that have ended."""
        return self.worker_reports / "ended.json"

    def account(self, ca: str) -> Path:
        """The folder of the account at one CA; `ca` is a key of `ca.ca_key`."""
        return self.accounts / ca

    def account_key(self, ca: str) -> Path:
        return self.account(ca) / "key.pem"

    def account_facts(self, ca: str) -> Path:
        """The account's URL and contacts, as they are at the CA."""
        return self.account(ca) / "account.json"

    # What the console keeps

    @property
    def admin(self) -> Path:
        return self.root / "admin"

    @property
    def users(self) -> Path:
        return self.admin / "users.jsonl"

    @property
    def sessions(self) -> Path:
        return self.admin / "sessions.jsonl"

    @property
    def invitations(self) -> Path:
        return self.admin / "invitations.jsonl"

    @property
    def tokens(self) -> Path:
        """The tokens of programs that use the API."""
        return self.admin / "tokens.jsonl"

    @property
    def temporary(self) -> Path:
        return self.root / "tmp"

    @property
    def lock(self) -> Path:
        return self.root / ".lock"

    @property
    def control_socket(self) -> Path:
        return self.root / "control.sock"
