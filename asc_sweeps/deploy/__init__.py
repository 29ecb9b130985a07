"""A network for others: exported files, predictions, the challenge's submission."""
