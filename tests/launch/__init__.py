"""Real launchers on this machine: a run by several processes, and what is done to it."""
