"""`certedge docs`: the pages of this release, which the package brings along with the files that they name.

Messages name a page by this command, never by a path of the repository: most readers have no clone.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from certstore.cli.context import AsJson, argument
from certstore.cli.failure import CommandFailed, Exit
from certstore.cli.output import Cell, print_json, print_lines, print_table

_README = "readme"


def _names() -> list[str]:
    return sorted(pages())


def docs(
    page: Annotated[
        str | None, argument("PAGE", "The page's name; without one, list them all.", autocompletion=_names)
    ] = None,
    wants_path: Annotated[bool, typer.Option("--path", help="Print the path of the page instead of its text.")] = False,
    as_json: AsJson = False,
) -> None:
    """Print a page of the documentation, or list the pages."""
    found = pages()
    if page is None:
        facts = [{"page": name, "title": _title(path), "path": str(path)} for name, path in sorted(found.items())]
        if as_json:
            print_json({"pages": facts})
        else:
            print_table(("PAGE", "ABOUT"), [(Cell(each["page"]), Cell(each["title"])) for each in facts])
        return
    path = found.get(page)
    if path is None:
        raise CommandFailed(f"print the page {page!r}", "there is no such page", "certedge docs lists them", Exit.USAGE)
    text = path.read_text(encoding="utf-8")
    if as_json:
        print_json({"page": page, "title": _title(path), "path": str(path), "text": text})
    else:
        print_lines(*([str(path)] if wants_path else text.splitlines()))


def pages() -> dict[str, Path]:
    """By name: `acme` is deploy/acme/README.md, `dns` the file of that name, `readme` the README."""
    root = _folder()
    found = {_README: root / "README.md"}
    for path in (root / "deploy").glob("*/*.md"):
        found[path.parent.name if path.name == "README.md" else path.stem] = path
    return found


def _title(path: Path) -> str:
    """The first heading."""
    with path.open(encoding="utf-8") as file:
        return next((line.lstrip("#").strip() for line in file if line.startswith("# ")), path.stem)


def _folder() -> Path:
    """In an installed package beside this file, in a clone where people look for it."""
    packaged = Path(__file__).parent / "docs"
    return packaged if packaged.is_dir() else Path(__file__).parents[2]
