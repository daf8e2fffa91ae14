"""Real servers for tests: each on a free port of the loopback, with its own folder, gone with the test."""
