"""Why an image is labeled as it is, and what changed between two versions."""
