"""`lian build`: one build that a person asks for, as a pass about nothing else. Never here: another way of building."""
