"""Floor 0: the frozen types that the rooms exchange. No torch, no files, no database."""
