"""How values look to a person and as JSON: two views of one value. Never here: a decision."""
