"""Child processes that do units: started, listened to, ended, and what passes between."""
