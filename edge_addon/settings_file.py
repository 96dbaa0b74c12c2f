"""`edge.yaml` from its path: read and parsed, or one message that says what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from certstore.model.settings import Settings
from certstore.model.settings_source import SettingsError, parse_settings


class BadSettings(Exception):
    """The file can't be read or does not say what may be said; the message names file, line, key, value, allowed."""


def load_settings(config: Path) -> Settings:
    """Raises BadSettings."""
    try:
        return parse_settings(config.read_text(encoding="utf-8-sig"), str(config))
    except SettingsError as error:
        raise BadSettings(str(error)) from error
    except FileNotFoundError as error:
        remedy = "name the file with --config, or make a first one with: certedge init --host YOUR.HOST.NAME"
        raise BadSettings(f"can't read the settings {config}: there is no such file; {remedy}") from error
    except OSError as error:
        raise BadSettings(f"can't read the settings {config}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise BadSettings(f"can't read the settings {config}: byte {error.start} is not UTF-8") from error
