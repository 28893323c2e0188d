"""Many files: which there are, what is done already, and the processes that do the rest."""
