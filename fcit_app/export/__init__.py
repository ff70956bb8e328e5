"""What people carry off from a run: adapters for stock tools, a run without a subspace, a proof."""
