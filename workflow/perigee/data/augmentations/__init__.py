"""Random changes of training images, one module each; metrics see the images unchanged."""
