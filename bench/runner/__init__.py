"""A request becomes a plan, its cells, and their records: each restorer in a process of its own."""
