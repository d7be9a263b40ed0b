"""What microtome's captures cost, beside its peers': run `python -m benchmarks`."""
