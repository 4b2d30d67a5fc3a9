"""Records on disk, and which of them is current."""
