"""Keeps mitmproxy's default addons out of `certedge run`, which uses none of them.

`mitmproxy.master` imports their package, whose first lines import each of them, and with them flask, ldap3 and more: a
tenth of a start and 13 MB of memory. Here the package is an empty one until somebody wants something of it.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from typing import Any

PACKAGE = "mitmproxy.addons"


def leave_out() -> None:
    """Before anything imports `mitmproxy.master`; later it changes nothing.

    Scripts see no difference: a module of the package is imported as ever, and a name of the package itself runs the
    package.
    """
    if PACKAGE in sys.modules or (spec := importlib.util.find_spec(PACKAGE)) is None or spec.loader is None:
        return
    package, run = importlib.util.module_from_spec(spec), spec.loader.exec_module

    def found(name: str) -> Any:
        """PEP 562: what the package does not have yet."""
        if name.startswith("__"):
            raise AttributeError(name)
        if importlib.util.find_spec(f"{PACKAGE}.{name}") is not None:
            return importlib.import_module(f"{PACKAGE}.{name}")
        package.__dict__.pop("__getattr__", None)
        run(package)
        return getattr(package, name)

    package.__dict__["__getattr__"] = found
    sys.modules[PACKAGE] = package
    sys.modules["mitmproxy"].__dict__["addons"] = package
