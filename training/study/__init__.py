"""`hub study`: a grid of recipes from one file, run so that nothing is trained twice, and read."""
