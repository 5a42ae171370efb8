"""Running a plan: what is pending, units of work, where and by whom they are done, progress."""
