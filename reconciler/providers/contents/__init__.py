"""What is behind URLs, fetched to be hashed and kept nowhere."""
