"""What merging one revision into another would build: for pull requests, before anything is merged."""
