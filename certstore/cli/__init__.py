"""The command line `certedge`: one module per group of commands, on top of the store and the control process.

Every change goes through `certstore.control.client`; nothing here writes to the store. What a command needs only
when it runs comes from `lazy`, so that every command starts fast.

main            the typer app and its groups; `edge_addon.cli` adds `run` and `demo`
context         the options of every command, and the settings and store behind them
asking          has a command performed, and shows what came of it
output          tables, plain text and JSON
tables          how a table fits the width of a terminal
failure         how a failure is reported, and the exit codes
lazy            the modules that commands load only when they run
completion      what the shell offers when you press the tab key

init            `certedge init`
check           `certedge check-config`
ignored         entries of domains/ that belong to no site, for check and status
status          `certedge status`, and how facts about sites are shown
explain         `certedge explain`
verify          `certedge verify`
sites           `certedge site …`
certificates    `certedge cert …`
export          the files of `certedge cert export`, swapped in at once
orders          `certedge cert request`, `certedge renew`, `certedge preflight`
importing       `certedge import`
import_sources  reads what certbot, acme.sh and BlueMind left
import_dns      how certbot and acme.sh proved names over DNS, and what does the same here
account         `certedge account …`
notify          `certedge notify …`
admin           `certedge admin …`
"""
