"""Results on a page: a run, two runs compared, several runs together, the index of a store."""
