"""The addons that `inspection: {scripts: […]}` names, loaded into the lean master of a worker.

mitmproxy's own loader runs the files; this module says which files and reports whether they loaded. Apply a changed
script by reloading the service, like a changed setting.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from mitmproxy import hooks
from mitmproxy.addons.script import load_script
from mitmproxy.master import Master

log = logging.getLogger(__name__)

REFUSING = "inspected sites answer 503 until you fix it and reload the service"


def load_scripts(master: Master, base: Path, scripts: Sequence[Path]) -> bool:
    """Add the scripts in their order; False if one did not load, which is logged with the reason.

    Call it before the master runs, so that the scripts get its `running` event like all addons.
    """
    loaded = [_load(master, base / each) for each in scripts]  # all of them, to report every fault at once
    return all(loaded)


def _load(master: Master, path: Path) -> bool:
    if not path.is_file():
        log.error("inspection: there is no script %s; %s", path, REFUSING)
        return False
    module = load_script(str(path))
    if module is not None:
        try:
            master.addons.add(module)
            master.addons.invoke_addon_sync(module, hooks.ConfigureHook(set(master.options.keys())))
        except Exception:
            log.exception("inspection: a hook of the script %s failed while it was loaded", path)
        else:
            return True
    log.error("inspection: the script %s did not load; %s", path, REFUSING)
    return False
