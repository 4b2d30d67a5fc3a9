"""Restorers and their weights: found, declared, chosen."""
