"""What mitmproxy loads: `mitmdump -n -s edge_addon/entry.py --set edge_config=edge.yaml`.

mitmproxy runs this file as a script of its own, outside the package: it imports from the installed package only.
"""

from edge_addon.addon.edge import Edge

addons = [Edge()]
