"""Pages that open from disk and ask nothing of the network: their frame, look and charts, whatever they are about."""
