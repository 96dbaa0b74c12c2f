"""Certificates of many sites: taken in from files or a CA, checked, versioned on disk, watched until they expire.

    model/     decisions, values in and values out: names, bundles, choice, settings, records; no I/O.
    store      the directory store: versions, the `live` links, one writer.
    intake     reads a dropped folder or file safely; watch notices that there is one.
    journal    what workers read: one line per changed site.
    acme/      orders certificates by RFC 8555.
    service/   the control process: the one writer, its socket and verbs, renewal, warnings.
    admin/     the console.
    cli/       commands over all of the above.

Nothing here knows mitmproxy or imports `edge_addon`: any program that needs certificates looked after can use it.
"""
