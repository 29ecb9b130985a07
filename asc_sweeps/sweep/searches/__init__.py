"""The only door to Optuna: searches, and the importance of what they drew."""
