"""What a model looked at: maps of attention, and proof that they mean something."""
