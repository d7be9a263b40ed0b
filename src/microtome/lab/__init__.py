"""The lab: predictions, verdicts, runs and their store. Knows no model, no corpus and no single study."""
