"""The papers' tables and the reference run, as data."""
