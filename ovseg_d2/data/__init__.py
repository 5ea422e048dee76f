"""Images, datasets, mappers, samplers and loaders."""
