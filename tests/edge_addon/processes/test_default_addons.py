"""mitmproxy's default addons stay out until a script wants one."""

import subprocess
import sys

import pytest

BEGIN = "from edge_addon.processes.default_addons import leave_out; leave_out(); import sys, mitmproxy.master; "


def run(code: str) -> str:
    ran = subprocess.run([sys.executable, "-c", BEGIN + code], capture_output=True, text=True, check=False, timeout=120)
    assert ran.returncode == 0, ran.stderr
    return ran.stdout.strip()


def test_they_are_not_imported() -> None:
    assert run("import edge_addon.processes.supervisor; print({'flask', 'ldap3'} & set(sys.modules))") == "set()"


@pytest.mark.parametrize(
    "code",
    [
        "import mitmproxy.addons.export; print(mitmproxy.addons.export.Export.__name__)",
        "from mitmproxy.addons import export; print(export.Export.__name__)",
        "from mitmproxy.addons.export import Export; print(Export.__name__)",
        "import mitmproxy; print(mitmproxy.addons.export.Export.__name__)",
        "from mitmproxy import addons; print(*{type(each).__name__ for each in addons.default_addons()} & {'Export'})",
    ],
)
def test_scripts_import_them_as_ever(code: str) -> None:
    assert run(code) == "Export"


def test_all_of_them_are_there_when_asked_for() -> None:
    count = "from mitmproxy.addons import default_addons; print(len(default_addons()))"
    plain = subprocess.run([sys.executable, "-c", count], capture_output=True, text=True, check=True, timeout=120)
    assert run(count) == plain.stdout.strip()


def test_a_name_that_there_is_not() -> None:
    assert run("import mitmproxy.addons; print(hasattr(mitmproxy.addons, 'nothing'))") == "False"


def test_it_changes_nothing_where_they_are_imported_already() -> None:
    code = "import mitmproxy.addons; from edge_addon.processes.default_addons import leave_out; leave_out()"
    ran = subprocess.run([sys.executable, "-c", f"{code}; mitmproxy.addons.default_addons"], check=False, timeout=120)
    assert ran.returncode == 0
