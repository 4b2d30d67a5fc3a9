"""The same networks made fast: what they compute, in an order that the machine likes."""
