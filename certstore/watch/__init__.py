"""Notices changes in the drop folders and lets the writer check them.

Knows nothing of certificates.

    watcher         the threads: notifications and scans in, checks by the writer out
    inotify         the system's notifications
    seen            how places looked at the last check, from one start to the next
    folder_watches  notifications of thousands of single folders, where links lead
    scan            one pass over all drop places, and what differs between two of them
    queue           which place is due next: the debouncing
"""
