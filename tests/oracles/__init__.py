"""Small Go programs over BuildKit's own packages: what they answer is right by definition."""
