"""Adapters to the model runtimes, one package each; imported only when opened."""
