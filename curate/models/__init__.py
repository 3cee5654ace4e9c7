"""What answers requests, one module per prefix of a model string."""
