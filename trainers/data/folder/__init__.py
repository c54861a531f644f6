"""Folders of images as people have them: what is in one, and its conversion to one array for each split."""
