"""Studies on Ray: plan, queue, searches, early stopping, trackers, records of studies."""
