"""The evaluator: guard, imports, workers, isolation, cache, reports. Real Nickel throughout."""
