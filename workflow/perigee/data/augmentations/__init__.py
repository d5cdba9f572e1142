"""How training images are changed at random, one module each; metrics see them unchanged."""
