"""One module per chapter: chNN.py holds EXERCISES, a dict from exercise id to kfaclib.course.Exercise."""
