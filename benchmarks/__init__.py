"""What lian costs, as ratios against a baseline measured in the same run. Never asserted in a test."""
