"""Commands as jobs of a Ray cluster: the code that goes along, what else travels, and the way to the cluster."""
