"""The base model, LoRA adapters, the subspace bank and its selective activation."""
