"""Pages, slides, quizzes and tables that are made from the chapters."""
