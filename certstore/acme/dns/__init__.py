"""Writes TXT records into DNS zones, and sees them there as a CA will.

    bounds           the time for one piece of work, which ends early when the process stops
    zones            where a record has to be: its zone, the zone's own servers, and the name after any CNAME
    visibility       waits until the zone's own servers show a record
    zone_writer      what every way to write has in common: add, remove, and how it says that it can't
    rfc2136          dynamic updates, signed with TSIG
    tsig             the key file of such updates
    lexicon          hosted DNS through dns-lexicon, in a process that can be ended
    lexicon_child    that process
    hook             a program of the administrator's
    child_process    runs such a process: bounded in time and output, ended with all that it started
    records          puts records where they have to be, takes them out again, and tries whether that works
    setup_faults     what is wrong with `acme.dns` on this machine
    credentials      reads credentials files, and keeps their content out of messages
    record_journal   the records that are in zones now, so that a kill leaves none behind

Knows nothing of orders: names and values go in.
"""
