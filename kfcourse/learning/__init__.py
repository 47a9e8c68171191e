"""What a reader does with a chapter: own copies, exercises, hints, progress."""
