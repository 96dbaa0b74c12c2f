"""The pages: the desk's actions as HTML that works without scripts, and better with them."""
