"""Prints the packages that would complete the peers, one per line."""

import sys

from tests.peers import missing_packages

sys.stdout.write("".join(f"{package}\n" for package in missing_packages()))
