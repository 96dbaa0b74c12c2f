"""The processes of `certedge run`: one supervisor, one control process and the workers.

Knows no protocol: a worker only runs the addon.

    control_process  certstore's control as a child of the supervisor
    default_addons   keeps mitmproxy's own out
    drain            ends a worker without cutting off what is under way
    fleet            pure: which processes there should be, and what to do next
    handover         what a supervisor leaves to the release that takes its process over
    forking          forks children, and the pipes between them and the supervisor
    logs             one line per event on stderr
    metrics_file     a worker's numbers, written for the control process
    reporting        which settings run and what became of a reload, for the command line
    resource_limits  open files and core dumps
    supervisor       binds the sockets, starts the processes, keeps them alive
    systemd          socket activation and notifications
    upgrade          the installed release shows that it starts, and takes over
    worker           one process of the data plane
"""
