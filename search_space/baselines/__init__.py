"""Networks to compare a hybrid with: existing ones from timm, and toys."""
