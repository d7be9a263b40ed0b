"""What every room stands on: errors, files, progress. Depends on nothing else in microtome."""
