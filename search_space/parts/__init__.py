"""The parts of a hybrid that are no mixer: blocks, norms, stem, position embeddings, head."""
