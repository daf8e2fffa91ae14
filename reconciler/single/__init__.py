"""`lian build`: one build that a person asks for, as a pass about nothing else, and what its flags mean. Never here:
another way of building."""
