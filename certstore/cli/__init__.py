"""The command line `certedge`: one module per group of commands, on top of the store and the control process.

Every change goes through `certstore.control.client`; nothing here writes to the store. What a command needs only
when it runs comes from `lazy`, so that every command starts fast.

main            the typer app and its groups; `edge_addon.cli` adds `run` and `demo`
context         the options of every command, and the settings and store behind them
asking          has a command performed, and shows what came of it
others          how many other nodes of a cluster have a change
output          tables, plain text and JSON
tables          how a table fits the width of a terminal
failure         how a failure is reported, and the exit codes
lazy            the modules that commands load only when they run
completion      what the shell offers when you press the tab key

init            `certedge init`
samples         the settings that `init` starts from
check           `certedge check-config`
ignored         entries of domains/ that belong to no site, for check and status
reload          `certedge reload`
print_unit      `certedge print-unit`
doc_pages       `certedge docs`
service         the service behind a store: whether it runs, and with which settings
status          `certedge status`, and how facts about sites are shown
watching        `--watch`: shows something again when it has changed
explain         `certedge explain`
verify          `certedge verify`
sites           `certedge site …`
certificates    `certedge cert …`
export          the files of `certedge cert export`, swapped in at once
orders          `certedge cert request`, `certedge renew`, `certedge preflight`
cert_show       `certedge cert show`
revoke          `certedge cert revoke`
importing       `certedge import`
import_plan     what an import does with each site, decided before anything changes
import_leftovers  what an import does not take over
import_sources  reads what certbot, acme.sh and BlueMind left
import_dns      how certbot and acme.sh proved names over DNS, and what does the same here
account         `certedge account …`
man_pages       certedge(1) and edge.yaml(5), made from commands and settings
notify          `certedge notify …`
admin           `certedge admin …`
cluster         `certedge cluster …`
engine_files    `certedge cluster engine-files`
front_access    `certedge cluster front-access`
cluster_files   what a member of a cluster keeps beside edge.yaml, and its section there
"""
