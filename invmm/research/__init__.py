"""Parameter sweeps: many settings of one policy over many markets, on processes or a Ray cluster."""
