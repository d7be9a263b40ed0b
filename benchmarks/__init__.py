"""What microtome costs beside its peers: run `python -m benchmarks`."""
