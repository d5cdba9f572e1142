"""What is watched while a run trains, one module each; none of it moves a weight."""
