"""Sorts pictures into folders: the folders' names, and files that are never overwritten."""
