"""Jobs that make data before a training: mask files, and mask-category pairs from captions."""
