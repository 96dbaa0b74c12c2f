"""The script for mitmproxy: `mitmdump -n -s edge_addon/entry.py --set edge_config=edge.yaml`.

mitmproxy runs this file outside the package, so it imports only from the installed package.
"""

from edge_addon.addon.edge import Edge

addons = [Edge()]
