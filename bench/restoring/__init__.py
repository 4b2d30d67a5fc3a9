"""Restorers on one's own pictures: arrays and files, whole or in tiles; and what several make of one picture."""
