"""The parts of a hybrid besides its mixers: blocks, norms, stem, position embeddings, head."""
