"""Training the embedded router: sources, episodes, the model with gradients, and its way into the package."""
