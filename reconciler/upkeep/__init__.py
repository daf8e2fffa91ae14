"""Upkeep of what a fleet has beside its images, the build cache and rented runners: what is there, how much it takes,
and taking away what need not stay. Never here: a rule of what goes (in `cache`, and in `apply` for runners), and a
provider."""
