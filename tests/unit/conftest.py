"""Fixtures of these tests."""

from support.in_process import few_images, no_waiting_for_the_disk, one_thread

__all__ = ["few_images", "no_waiting_for_the_disk", "one_thread"]
