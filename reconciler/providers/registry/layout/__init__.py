"""A registry that is a folder on disk: one OCI image layout for each repository."""
