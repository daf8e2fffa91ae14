"""`lian sizing …`: one module for each subcommand."""
