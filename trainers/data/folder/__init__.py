"""Folders of images as people have them: what one holds, and its conversion to one array for each split."""
