"""The leaf of the house: the domain's types, the error tree and the registry. It imports nothing of the project."""
