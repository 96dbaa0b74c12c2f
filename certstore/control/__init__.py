"""The control process: the one writer of a store, and how others ask it to write.

protocol   what goes over the control socket: one JSON line each way, bounded
verbs      the verbs themselves: arguments in, facts out; socket and command line share them
control    the process: writer thread, drop watcher, control socket
client     asks control, or takes the lock itself where no control runs
"""
