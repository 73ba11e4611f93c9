"""The synthetic cohort: slides that look like H&E, with a planted signal and a known truth."""
