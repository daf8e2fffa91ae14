"""`lian cache …`: one module for each subcommand."""
