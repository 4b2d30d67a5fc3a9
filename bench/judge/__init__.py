"""Records held against the papers, the reference run, and each other."""
