"""The rehearsal's outside world: a hub on the loopback interface and a toy Gemma behind it."""
