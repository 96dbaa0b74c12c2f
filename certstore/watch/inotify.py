"""Receives the system's notifications about the drop places, through watchdog (inotify on Linux).

Three watches: the store's root, main/, and domains/ with everything below it. In addition, a bounded number of folders
that links lead to (certbot's live/ and archive/), because inotify does not follow links. What can't be watched is
logged once and left to the scan.
"""

from __future__ import annotations

import logging
import os
import threading
import warnings
from collections.abc import Callable
from pathlib import Path

from watchdog import events
from watchdog.events import FileSystemEvent, FileSystemEventHandler
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver, ObservedWatch

from certstore.model.layout import Layout
from certstore.model.snapshot import MAIN
from certstore.model.text import shown
from certstore.watch.folder_watches import FolderWatches
from certstore.watch.queue import Kind, Place
from certstore.watch.scan import MAIN_PLACE, link_folders

logger = logging.getLogger(__name__)

MAX_LINK_FOLDERS = 2048
"""The system has a limit for all watches of a user, which drop folders need too."""
LINK_FOLDERS_OF_PLACE = 16
"""A client who drops links must not use up the watches of others."""

# Reading a drop makes events too (open, close): only changes are asked for, or checking would never end.
_KINDS: list[type[FileSystemEvent]] = [
    events.FileCreatedEvent,
    events.FileModifiedEvent,
    events.FileClosedEvent,
    events.FileMovedEvent,
    events.FileDeletedEvent,
    events.DirCreatedEvent,
    events.DirMovedEvent,
    events.DirDeletedEvent,
]
if (_attribute_event := getattr(events, "FileAttribEvent", None)) is not None:
    _KINDS.append(_attribute_event)


class Notifications:
    """`touch` is called, from watchdog's thread, with every place where something happened.

    `problem` says what is not watched, None when everything is.
    """

    def __init__(self, layout: Layout, touch: Callable[[Place], None]) -> None:
        self.problem: str | None = None
        self._layout = layout
        self._touch = touch
        self._observer: BaseObserver | None = None
        self._watches: dict[Path, tuple[ObservedWatch, tuple[int, int]]] = {}
        # The values are replaced and never changed: watchdog's thread reads them while the scan's works on them.
        self._linked: dict[Path, frozenset[Place]] = {}
        self._folders: FolderWatches | None = None
        self._link_problem: str | None = None
        self._cut_off: set[Place] = set()
        self._following = threading.Lock()

    def start(self) -> None:
        """Never raises: without inotify there are still the scans."""
        _quieten_watchdog()
        try:
            self._observer = Observer()
            self._observer.start()
            self._folders = FolderWatches(self.happened_elsewhere)
        except OSError as error:
            self._observer = None
            self._report(f"the system sends no notifications ({error.strerror}); only the periodic scan finds changes")

    def stop(self) -> None:
        if self._observer is not None:
            self._observer.stop()
            self._observer.join()
            self._observer = None
        with self._following:
            folders, self._folders = self._folders, None
        if folders is not None:
            folders.stop()

    def renew(self, folders: int) -> None:
        """Watch every folder that should be watched: at the start, and again when one was replaced or mounted over.

        `folders` is how many there are below domains/, to find out whether the system's limit cut some off.
        """
        if self._observer is None:
            return
        fault: str | None = None
        for folder, is_recursive in self._wanted().items():
            fault = self._watch(folder, is_recursive=is_recursive) or fault
        if fault is None and (counted := self._count_watches()) is not None and counted < folders:
            fault = f"{folders - counted} of {folders} folders can't be watched: the system's limit is reached"
            # Tried again with the next scan: somebody may have raised the limit by then.
            self._unwatch(self._layout.domains)
        with self._following:
            for folder in self._linked:
                self._watch_link_folder(folder)
            fault, self._link_problem = fault or self._link_problem, None
        if fault is not None:
            fault += "; the periodic scan finds their changes (raise the limit: sysctl fs.inotify.max_user_watches)"
        self._report(fault)

    def follow_links(self, place: Place) -> None:
        """Watch the folders where a change of the place's link targets would show."""
        found = {each for link in self._links_of(place) for each in link_folders(link) if not self._is_inside(each)}
        wanted = set(sorted(found)[:LINK_FOLDERS_OF_PLACE])
        with self._following:
            if len(found) > len(wanted) and place not in self._cut_off:
                self._cut_off.add(place)
                logger.warning(
                    "%s: its links lead to %d folders, of which %d are watched; the periodic scan finds changes in the "
                    "others", shown(place.name), len(found), len(wanted),
                )  # fmt: skip
            for folder in [each for each, places in self._linked.items() if place in places and each not in wanted]:
                self._linked[folder] -= {place}
                if not self._linked[folder]:
                    del self._linked[folder]
                    if self._folders is not None:
                        self._folders.unwatch(folder)
            for folder in sorted(wanted):
                if folder in self._linked:
                    self._linked[folder] |= {place}
                elif len(self._linked) < MAX_LINK_FOLDERS:
                    self._linked[folder] = frozenset({place})
                    self._watch_link_folder(folder)
                else:
                    self._link_problem = (
                        f"links lead to more than {MAX_LINK_FOLDERS} folders, and the others are not watched"
                    )

    def _watch_link_folder(self, folder: Path) -> None:
        if self._folders is None:
            return
        try:
            self._folders.watch(folder)
        except FileNotFoundError:
            pass  # the link leads nowhere; the next scan tries again
        except OSError as error:
            self._link_problem = f"{folder} can't be watched ({error.strerror})"

    def happened_elsewhere(self, folder: Path) -> None:
        for place in self._linked.get(folder, ()):
            self._touch(place)

    def _count_watches(self) -> int | None:
        """Those of the drop folders, as far as the system says."""
        counted = count_watches()
        return None if counted is None else counted - len(self._linked)

    def _wanted(self) -> dict[Path, bool]:
        layout = self._layout
        wanted = {layout.root: False, layout.drop_folder(MAIN): False, layout.domains: True}
        # Not Path.is_dir: that raises for a link into a folder that may not be entered.
        return {folder: is_recursive for folder, is_recursive in wanted.items() if os.path.isdir(folder)}  # noqa: PTH112

    def _watch(self, folder: Path, *, is_recursive: bool) -> str | None:
        """What went wrong, if anything."""
        observer = self._observer
        try:
            status = folder.stat()
            identity = (status.st_dev, status.st_ino)
            if observer is None or self._watches.get(folder, (None, None))[1] == identity:
                return None
            self._unwatch(folder)
            watch = observer.schedule(_Handler(self), str(folder), recursive=is_recursive, event_filter=_KINDS)
        except OSError as error:
            return f"{folder} can't be watched ({error.strerror})"
        self._watches[folder] = (watch, identity)
        return None

    def _unwatch(self, folder: Path) -> None:
        watch, _ = self._watches.pop(folder, (None, None))
        if watch is not None and self._observer is not None:
            try:
                self._observer.unschedule(watch)
            except (KeyError, OSError):  # OSError: the observer is being stopped at this moment
                logger.debug("%s was no longer watched", folder)

    def _report(self, problem: str | None) -> None:
        if problem is not None and problem != self.problem:
            logger.warning("%s", problem)
        self.problem = problem

    def _is_inside(self, folder: Path) -> bool:
        return any(folder.is_relative_to(each) for each in (self._layout.domains, self._layout.drop_folder(MAIN)))

    def _links_of(self, place: Place) -> list[Path]:
        """The links among the files of a place, and the place itself when it is one."""
        layout = self._layout
        is_main = place == MAIN_PLACE
        itself = layout.drop_folder(MAIN) if is_main else layout.domains / place.name
        candidates = [itself, layout.drop_file(MAIN)] if is_main else [itself]
        try:
            with os.scandir(itself) as entries:
                candidates += [Path(entry.path) for entry in entries if entry.is_symlink()]
        except OSError:
            pass
        return [path for path in candidates if path.is_symlink()]

    def happened(self, path: Path, *, is_folder: bool) -> None:
        """An event below a drop place: pass on the place that it belongs to."""
        if path.is_relative_to(self._layout.domains):
            name, *rest = path.relative_to(self._layout.domains).parts or ("",)
            if name and not name.startswith("."):
                # inotify does not take a link to a folder for a folder, but for a drop it is one.
                is_folder = bool(rest) or is_folder or os.path.isdir(self._layout.domains / name)  # noqa: PTH112
                self._touch(Place(Kind.FOLDER if is_folder else Kind.FILE, name))
        elif path == self._layout.drop_file(MAIN) or path.is_relative_to(self._layout.drop_folder(MAIN)):
            self._touch(MAIN_PLACE)


class _Handler(FileSystemEventHandler):
    """Passes on the events of one watched folder."""

    def __init__(self, notifications: Notifications) -> None:
        self._notifications = notifications

    def on_any_event(self, event: FileSystemEvent) -> None:
        for path in (event.src_path, event.dest_path):
            if path:
                self._notifications.happened(Path(os.fsdecode(path)), is_folder=event.is_directory)


def _quieten_watchdog() -> None:
    """Silence two messages of watchdog about itself that mean nothing to anybody here."""
    # A folder that was moved away and comes back still has its watch.
    warnings.filterwarnings("ignore", message="Callback with id", category=RuntimeWarning)
    # Its threads stop in an order that makes one of them report itself.
    inotify_logger = logging.getLogger("watchdog.observers.inotify")
    if _is_worth_a_line not in inotify_logger.filters:
        inotify_logger.addFilter(_is_worth_a_line)


def _is_worth_a_line(record: logging.LogRecord) -> bool:
    return "called when the thread is inactive" not in record.getMessage()


def count_watches() -> int | None:
    """How many inotify watches this process holds, by the kernel's own count; None where there is no /proc."""
    try:
        descriptors = [path.name for path in Path("/proc/self/fd").iterdir()]
    except OSError:
        return None
    count = 0
    for descriptor in descriptors:
        try:
            if os.readlink(f"/proc/self/fd/{descriptor}") == "anon_inode:inotify":  # noqa: PTH115
                count += Path(f"/proc/self/fdinfo/{descriptor}").read_bytes().count(b"inotify wd:")
        except OSError:
            continue
    return count
