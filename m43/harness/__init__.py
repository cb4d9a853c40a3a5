"""Does the gates and tells pytest: everything that touches the hub, the children and the run."""
