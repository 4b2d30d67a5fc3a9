"""Where jobs run: slots of this machine, or a cluster's."""
