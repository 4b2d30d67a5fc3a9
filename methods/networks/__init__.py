"""Networks that are more than a screen, as their papers write them."""
