"""What every model of the settings is built on."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict


class Model(BaseModel):
    """Frozen, and a misspelt key is an error rather than a setting that silently does nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)
