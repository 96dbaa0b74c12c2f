"""Where everything lies in a store: the only module that knows its file names.

Pure paths: nothing here touches a disk. SITE arguments are keys that have passed `names.is_site_key`. Nothing that a
client sends becomes a part of a path, except a challenge token that matches `TOKEN`.
"""

from __future__ import annotations

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
REVOKED = "revoked.json"
"""Beside the files of a version that was revoked."""
REVOKING = "revoking.json"
"""There while a revocation is under way."""
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


class Layout:
    """The paths below one store's root folder."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.lock = root / ".lock"
        self.control_socket = root / "control.sock"
        self.temporary = root / "tmp"
        # What people write
        self.domains = root / "domains"
        # What is served, and what it is made from
        self.live_folder = root / "live"
        self.archive = root / "archive"
        self.stamps = root / "stamps"
        # What the control process keeps
        self.records_folder = root / "records"
        self.challenges = root / "challenges"
        self.alpn_challenges = root / "tls-alpn-01"
        """The key authorizations of names that a CA validates over TLS, each under its name."""
        self.accounts = root / "accounts"
        self.state = root / "state"
        self.snapshot_journal = self.state / "snapshot.jsonl"
        self.drop_digests = self.state / "drops.jsonl"
        self.seen_places = self.state / "places.jsonl"
        """How drop places looked when nothing was left to do there."""
        self.declarations = self.state / "declarations.jsonl"
        self.tombstones = self.state / "removed.jsonl"
        self.tried = self.state / "tried.jsonl"
        """Which live versions the TLS library is known to serve."""
        self.renewals = self.state / "renewals.jsonl"
        """What renewal remembers of each site: failures, next attempts, windows that the CA suggested."""
        self.ca_counters = self.state / "ca_counters.jsonl"
        self.mails = self.state / "mails.jsonl"
        """What each recipient has been mailed about sites."""
        self.service_mails = self.state / "service_mails.jsonl"
        """What each operator has been mailed about this node's own problems."""
        self.standing_problems = self.state / "problems.jsonl"
        """Since when each problem of the service stands."""
        self.orders = self.state / "orders"
        """Orders under way, so that the next start continues those that a kill interrupted."""
        self.dns_records = self.state / "dns_records.jsonl"
        """The TXT records of ours that are in DNS zones now."""
        self.worker_reports = self.state / "run"
        """What the service's other processes leave for control: the only files here that control does not write."""
        # What the console keeps
        self.admin = root / "admin"
        self.users = self.admin / "users.jsonl"
        self.sessions = self.admin / "sessions.jsonl"
        self.invitations = self.admin / "invitations.jsonl"
        self.tokens = self.admin / "tokens.jsonl"
        """The tokens of programs that use the API."""

    @property
    def service_report(self) -> Path:
        """Which settings the service runs with, by its supervisor."""
        return self.worker_reports / "service.json"

    @property
    def ended_workers(self) -> Path:
        """The sum of the counters of all workers that have ended."""
        return self.worker_reports / "ended.json"

    # Of a node in a cluster

    @property
    def agreed(self) -> Path:
        """What the nodes of a cluster have agreed on, as far as this one has seen."""
        return self.state / "agreed.jsonl"

    @property
    def known_members(self) -> Path:
        """The newest record of each member of the cluster that this node has seen."""
        return self.state / "members.jsonl"

    @property
    def cluster_standing(self) -> Path:
        """How this node stands in its cluster, for commands that read."""
        return self.worker_reports / "cluster.json"

    @property
    def cluster_keys(self) -> Path:
        """The keys of the cluster that this node belongs to."""
        return self.root / "cluster" / "keys.json"

    @property
    def cluster_front(self) -> Path:
        """There while this node is a front of its cluster."""
        return self.root / "cluster" / "front.json"

    @property
    def cluster_ordering(self) -> Path:
        """By which settings this node last agreed to order."""
        return self.root / "cluster" / "ordering.json"

    @property
    def cluster_tokens(self) -> Path:
        """The challenge tokens that are shown here for other nodes."""
        return self.root / "cluster" / "tokens.json"

    @property
    def joining(self) -> Path:
        """There while this node has not seen all sites of the cluster that it joined: balancers send it nobody."""
        return self.worker_reports / "joining"

    @property
    def cluster_rebuild(self) -> Path:
        """There while a person wants the engine to be filled again from this store."""
        return self.state / "rebuild"

    # Of a site, a version, an account

    def drop_folder(self, site: str) -> Path:
        """The folder where a site's site.yaml and dropped files lie."""
        return self.root / "main" if site == "main" else self.domains / site

    def drop_file(self, site: str) -> Path:
        """A drop that is one file, beside the folders."""
        return self.root / f"main{DROP_SUFFIX}" if site == "main" else self.domains / f"{site}{DROP_SUFFIX}"

    def site_yaml(self, site: str) -> Path:
        return self.drop_folder(site) / SITE_YAML

    def live(self, site: str) -> Path:
        """The symlink that names the served version."""
        return self.live_folder / site

    def stamp(self, site: str) -> Path:
        """A file that is written at each activation, for programs that watch files: they follow a link and would not
        see that it was replaced.
        """
        return self.stamps / site

    def live_target(self, site: str, version: int) -> str:
        """What the `live` link holds: relative, so that a store can be moved or mounted elsewhere."""
        return f"../archive/{site}/{version}"

    def versions(self, site: str) -> Path:
        return self.archive / site

    def version(self, site: str, version: int) -> Path:
        return self.archive / site / str(version)

    def records(self, site: str) -> Path:
        return self.records_folder / f"{site}{_JSON}"

    def challenge(self, token: str) -> Path | None:
        """Where the token's key authorization lies, or None when the text can't be a token."""
        return self.challenges / token if is_token(token) else None

    def alpn_challenge(self, name: str) -> Path | None:
        """Where the key authorization for a name lies, or None when the text is not a host name."""
        # Imported here because most commands need a layout, and few of them what names bring along.
        from certstore.model.names import is_host_name

        return self.alpn_challenges / name if is_host_name(name) else None

    def order(self, site: str) -> Path:
        return self.orders / f"{site}{_JSON}"

    def worker_report(self, pid: int) -> Path:
        return self.worker_reports / f"worker-{pid}.json"

    def account(self, ca: str) -> Path:
        """The folder of the account at one CA; `ca` is a key of `ca.ca_key`."""
        return self.accounts / ca

    def account_key(self, ca: str) -> Path:
        return self.account(ca) / "key.pem"

    def next_account_key(self, ca: str) -> Path:
        """The key that the CA is being told to use from now on, until it is in place."""
        return self.account(ca) / "next-key.pem"

    def replaced_account_key(self, ca: str) -> Path:
        """The key of an account of this node's own, in whose place that of the cluster came."""
        return self.account(ca) / "replaced-key.pem"

    def account_generation(self, ca: str) -> Path:
        """The cluster whose account this is, and which generation of it."""
        return self.account(ca) / "generation"

    def account_facts(self, ca: str) -> Path:
        """The account's URL and contacts, as they are at the CA."""
        return self.account(ca) / "account.json"
