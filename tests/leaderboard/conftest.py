from hypothesis import settings

# On a busy machine a drawing takes as long as it takes; that is no finding about the code.
settings.register_profile("leaderboard", deadline=None)
settings.load_profile("leaderboard")
