"""What is asked for: a trial's settings, search spaces, requests. Knows nothing of files that a study leaves, of Ray or of torch."""
