"""Export of a causal language model to the bundle that the Arch-Router classifier runs."""
