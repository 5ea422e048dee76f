"""Reading data: images, datasets, mappers and samplers."""
