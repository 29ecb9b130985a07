"""The only door to Ray: a plan run on Ray Tune."""
