"""m43: a training run expressed as an acceptance test that leaves its own proof."""
