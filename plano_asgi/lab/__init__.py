"""What is done with routers at a desk, not on a request: exporting, training, evaluating."""
