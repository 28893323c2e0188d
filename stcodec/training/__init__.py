"""From a folder of videos and photos to a model."""
