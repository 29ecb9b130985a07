"""The networks' fast form on a CPU."""
