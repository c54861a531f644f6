"""A search: the engine decides, the ledger records."""
