"""What finished networks answer. Nothing here trains."""
