"""Fine-tuning a loaded model in place, in full or by LoRA, with updates that are measured, matched and undone."""
