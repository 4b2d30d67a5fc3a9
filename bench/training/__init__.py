"""Training of learned restorers: recipes as data, crops as a function of the step, a loop that can be killed."""
