"""Answers to any number of pictures, as a table: pictures in, journal beside, table out."""
