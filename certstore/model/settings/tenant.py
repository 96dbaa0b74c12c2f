"""What of a site.yaml counts when somebody else than the administrator may write it.

Names could be somebody else's, an upstream is an address in the operator's network, and inspection shows what others
send: these are the administrator's. What concerns the site's own certificate is the tenant's.
"""

from __future__ import annotations

from typing import Any

from certstore.model.settings.models import SiteSettings

TENANT_KEYS = frozenset({"certificate", "contact", "profile", "key_type", "reuse_key"})


def tenant_settings(declared: SiteSettings, administered: SiteSettings) -> tuple[SiteSettings, tuple[str, ...]]:
    """The settings that count, and the keys that do not: the tenant's from `declared`, the rest as it was.

    Raises ValueError where the two do not go together.
    """
    own = _facts(declared)
    kept = {key: value for key, value in _facts(administered).items() if key not in TENANT_KEYS}
    counting = SiteSettings.model_validate(kept | {key: own[key] for key in own.keys() & TENANT_KEYS})
    ignored = [
        key
        for key in SiteSettings.model_fields
        if key not in TENANT_KEYS and getattr(declared, key) != getattr(administered, key)
    ]
    return counting, tuple(ignored)


def _facts(settings: SiteSettings) -> dict[str, Any]:
    return settings.model_dump(mode="json", exclude_defaults=True)
